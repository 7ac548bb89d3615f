import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState, type ReactNode } from "react";

import type { Video } from "../api/client";
import { keys } from "../cameras/queries";
import { useHome } from "../ui/home";
import { Failed, Loading } from "../ui/states";
import { texts } from "../ui/texts";
import { exactTime } from "../ui/time";

interface Props {
  readonly clip: Video;
  readonly onRemoved: () => void;
}

/** Plays one clip. Its address is asked for when it is needed, since it lives for some minutes only. */
export function Player({ clip, onRemoved }: Props): ReactNode {
  const { api } = useHome();
  const queries = useQueryClient();
  const [isUnplayable, setUnplayable] = useState(false);
  const path = { thing: clip.thingName, video: clip.video };
  const address = useQuery({
    queryKey: ["clip", clip.thingName, clip.video],
    staleTime: 60_000,
    queryFn: async ({ signal }) => {
      const { data } = await api.GET("/videos/{video}/cameras/{thing}/url", { params: { path }, signal });
      if (data === undefined) throw new Error("no answer");
      return data.url;
    },
  });
  const change = useMutation({
    mutationFn: async (what: "star" | "remove") => {
      if (what === "remove") await api.DELETE("/videos/{video}/cameras/{thing}", { params: { path } });
      else await api.PUT("/videos/{video}/cameras/{thing}", { params: { path }, body: { starred: !clip.starred } });
      return what;
    },
    onSuccess: (what) => {
      void queries.invalidateQueries({ queryKey: ["clips"] });
      void queries.invalidateQueries({ queryKey: keys.camera(clip.thingName) });
      if (what === "remove") onRemoved();
    },
  });
  const download = async (): Promise<void> => {
    const { data } = await api.GET("/videos/{video}/cameras/{thing}/url", {
      params: { path, query: { download: true } },
    });
    if (data !== undefined) location.assign(data.url);
  };
  if (address.isPending) return <Loading />;
  if (address.isError) return <Failed error={address.error} retry={() => void address.refetch()} />;
  return (
    <figure>
      {isUnplayable ? (
        <p className="picture quiet">{texts.notPlayable}</p>
      ) : (
        <video
          src={address.data}
          controls
          autoPlay
          muted
          playsInline
          poster={clip.thumbnailUrl ?? undefined}
          onError={() => {
            setUnplayable(true);
          }}
        />
      )}
      <figcaption>
        <span>{exactTime(clip.startedAt)}</span>
        <span className="actions">
          <button type="button" onClick={() => void download()}>
            {texts.download}
          </button>
          <button type="button" disabled={change.isPending} onClick={() => { change.mutate("star"); }}>
            {clip.starred ? texts.unstar : texts.star}
          </button>
          <button type="button" disabled={change.isPending} onClick={() => { change.mutate("remove"); }}>
            {texts.remove}
          </button>
        </span>
        {change.isError && <span role="alert">{change.error.message}</span>}
      </figcaption>
    </figure>
  );
}
