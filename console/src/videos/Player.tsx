import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useRef, useState, type ReactNode, type RefObject } from "react";

import type { Video } from "../api/client";
import { keys } from "../cameras/queries";
import { useMay } from "../people/queries";
import { useHome } from "../ui/home";
import { Failed, Loading } from "../ui/states";
import { texts } from "../ui/texts";
import { exactTime } from "../ui/time";

/** Younger than this an address has not expired, and what cannot be played cannot be played. */
const FRESH_MS = 60_000;

interface Props {
  readonly clip: Video;
  readonly video: RefObject<HTMLVideoElement | null>;
  readonly onClose: () => void;
}

/** Plays one clip. Its address is asked for when it is needed, since it lives for some minutes only. */
export function Player({ clip, video, onClose }: Props): ReactNode {
  return (
    <figure>
      <Screen clip={clip} video={video} />
      <figcaption>
        <span title={texts.keys}>{exactTime(clip.startedAt)}</span>
        <Actions clip={clip} onClose={onClose} />
        <button type="button" onClick={onClose}>
          {texts.close}
        </button>
      </figcaption>
    </figure>
  );
}

function Screen({ clip, video }: Omit<Props, "onClose">): ReactNode {
  const { api } = useHome();
  const [isUnplayable, setUnplayable] = useState(false);
  const goOnAt = useRef(0);
  const path = { thing: clip.thingName, video: clip.video };
  const address = useQuery({
    queryKey: ["clip", clip.thingName, clip.video],
    staleTime: FRESH_MS,
    refetchOnWindowFocus: false,
    refetchOnReconnect: false,
    queryFn: async ({ signal }) => {
      const { data } = await api.GET("/videos/{video}/cameras/{thing}/url", { params: { path }, signal });
      if (data === undefined) throw new Error("no answer");
      return data.url;
    },
  });
  if (address.isPending) {
    return (
      <Loading>
        <span className="picture" aria-hidden="true" />
      </Loading>
    );
  }
  if (address.isError) return <Failed error={address.error} retry={() => void address.refetch()} />;
  if (isUnplayable) {
    return (
      <p className="picture" role="alert">
        {texts.notPlayable}
      </p>
    );
  }
  return (
    <video
      ref={video}
      src={address.data}
      controls
      autoPlay
      muted
      playsInline
      poster={clip.thumbnailUrl ?? undefined}
      onLoadedMetadata={(event) => {
        if (goOnAt.current > 0) event.currentTarget.currentTime = goOnAt.current;
        goOnAt.current = 0;
      }}
      onError={(event) => {
        if (Date.now() - address.dataUpdatedAt < FRESH_MS) {
          setUnplayable(true);
          return;
        }
        goOnAt.current = event.currentTarget.currentTime;
        void address.refetch();
      }}
    />
  );
}

function Actions({ clip, onClose }: { readonly clip: Video; readonly onClose: () => void }): ReactNode {
  const { api, deletions } = useHome();
  const queries = useQueryClient();
  const mayOperate = useMay("operate");
  const path = { thing: clip.thingName, video: clip.video };
  const star = useMutation({
    mutationFn: () =>
      api.PUT("/videos/{video}/cameras/{thing}", { params: { path }, body: { starred: !clip.starred } }),
    onSuccess: () => queries.invalidateQueries({ queryKey: keys.allClips }),
  });
  const download = useMutation({
    mutationFn: async () => {
      const { data } = await api.GET("/videos/{video}/cameras/{thing}/url", {
        params: { path, query: { download: true } },
      });
      if (data !== undefined) location.assign(data.url);
    },
  });
  const problem = star.error ?? download.error;
  return (
    <span className="actions">
      {problem !== null && <span role="alert">{problem.message}</span>}
      <button
        type="button"
        disabled={download.isPending}
        onClick={() => {
          download.mutate();
        }}
      >
        {texts.download}
      </button>
      {mayOperate && (
        <>
          <button
            type="button"
            disabled={star.isPending}
            onClick={() => {
              star.mutate();
            }}
          >
            {clip.starred ? texts.unstar : texts.star}
          </button>
          <button
            type="button"
            onClick={() => {
              onClose();
              deletions.ask(clip);
            }}
          >
            {texts.remove}
          </button>
        </>
      )}
    </span>
  );
}
