import { useMutation } from "@tanstack/react-query";
import { useState, type ReactNode } from "react";
import { Link, useParams } from "react-router";

import type { Video } from "../api/client";
import { useHome } from "../ui/home";
import { Failed, Loading } from "../ui/states";
import { texts } from "../ui/texts";
import { ClipList } from "../videos/ClipList";
import { Player } from "../videos/Player";
import { useCamera } from "./queries";
import { stateOf } from "./state";

/** One camera: its latest picture or the clip that was chosen, and its clips. */
export function CameraPage(): ReactNode {
  const { thing = "" } = useParams();
  const camera = useCamera(thing);
  const [chosen, choose] = useState<Video | undefined>();
  if (camera.isPending) return <Loading />;
  if (camera.isError) return <Failed error={camera.error} retry={() => void camera.refetch()} />;
  const state = stateOf(camera.data);
  return (
    <div className="camera">
      <header className="page-head">
        <Link to="/">← {texts.back}</Link>
        <h1>{camera.data.displayName}</h1>
        <span className="state">
          <span className={`dot ${state.meaning}`} aria-hidden="true" />
          {state.word}
          {camera.data.fault !== "" && `: ${camera.data.fault}`}
        </span>
        <Capture thing={thing} />
      </header>
      <div className="stage">
        {chosen === undefined ? (
          <span className="picture">
            {camera.data.stillUrl === null ? (
              <span className="quiet">{texts.noPicture}</span>
            ) : (
              <img src={camera.data.stillUrl} alt={camera.data.displayName} />
            )}
          </span>
        ) : (
          <Player
            key={chosen.video}
            clip={chosen}
            onRemoved={() => {
              choose(undefined);
            }}
          />
        )}
      </div>
      <section aria-label={texts.clips}>
        <ClipList thing={thing} chosen={chosen?.video} choose={choose} />
      </section>
    </div>
  );
}

function Capture({ thing }: { readonly thing: string }): ReactNode {
  const { api } = useHome();
  const ask = useMutation({
    mutationFn: async (what: "still" | "clip") => {
      const params = { path: { thing } };
      const { data } =
        what === "still"
          ? await api.POST("/cameras/{thing}/captureImage", { params })
          : await api.POST("/cameras/{thing}/captureVideo", { params, body: { durationInSeconds: 30 } });
      return data?.online === true ? texts.asked : texts.asleep;
    },
  });
  return (
    <span className="actions">
      <button type="button" disabled={ask.isPending} onClick={() => { ask.mutate("still"); }}>
        {texts.still}
      </button>
      <button type="button" disabled={ask.isPending} onClick={() => { ask.mutate("clip"); }}>
        {texts.record}
      </button>
      <span role="status" className="quiet">
        {ask.isError ? ask.error.message : ask.data}
      </span>
    </span>
  );
}
