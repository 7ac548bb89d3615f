import { useInfiniteQuery } from "@tanstack/react-query";

import type { VideoPage } from "../api/client";
import { keys, PICTURES_MS } from "../cameras/queries";
import { useHome } from "../ui/home";

const PAGE = 30;

/** Clips of one camera, or of all, the newest first. */
export function useClips(thing: string | undefined) {
  const { api } = useHome();
  return useInfiniteQuery({
    queryKey: keys.clips(thing),
    staleTime: PICTURES_MS,
    refetchInterval: PICTURES_MS,
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last: VideoPage) => last.nextToken ?? undefined,
    queryFn: async ({ pageParam, signal }): Promise<VideoPage> => {
      const query = {
        limit: PAGE,
        ...(thing === undefined ? {} : { camera: thing }),
        ...(pageParam === undefined ? {} : { nextToken: pageParam }),
      };
      const { data } = await api.GET("/videos", { params: { query }, signal });
      if (data === undefined) throw new Error("no answer");
      return data;
    },
  });
}
