import { useQuery } from "@tanstack/react-query";

import type { Camera } from "../api/client";
import { useHome } from "../ui/home";

/** Links to pictures live for 15 minutes, so lists are asked for again well before that. */
export const PICTURES_MS = 4 * 60_000;

export const keys = {
  cameras: ["cameras"] as const,
  camera: (thing: string) => ["cameras", thing] as const,
  allClips: ["clips"] as const,
  clips: (thing: string | undefined) => ["clips", thing ?? "all"] as const,
};

export function useCameras() {
  const { api } = useHome();
  return useQuery({
    queryKey: keys.cameras,
    refetchInterval: PICTURES_MS,
    queryFn: async ({ signal }) => {
      const found: Camera[] = [];
      let nextToken: string | undefined;
      do {
        const { data } = await api.GET("/cameras", {
          params: { query: nextToken === undefined ? {} : { nextToken } },
          signal,
        });
        found.push(...(data?.items ?? []));
        nextToken = data?.nextToken ?? undefined;
      } while (nextToken !== undefined);
      return found;
    },
  });
}

export function useCamera(thing: string) {
  const { api } = useHome();
  return useQuery({
    queryKey: keys.camera(thing),
    refetchInterval: PICTURES_MS,
    queryFn: async ({ signal }) => {
      const { data } = await api.GET("/cameras/{thing}", { params: { path: { thing } }, signal });
      if (data === undefined) throw new Error("no answer");
      return data;
    },
  });
}
