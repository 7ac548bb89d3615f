import { useMutation } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { Link, useParams } from "react-router";

import { useMay } from "../people/queries";
import { useHome } from "../ui/home";
import { Picture } from "../ui/Picture";
import { Failed, Loading } from "../ui/states";
import { texts } from "../ui/texts";
import { ClipBrowser } from "../videos/ClipBrowser";
import { useCamera } from "./queries";
import { StateLine } from "./StateLine";

/** One camera: its latest picture or the clip that was chosen, and its clips. */
export function CameraPage(): ReactNode {
  const { thing = "" } = useParams();
  const camera = useCamera(thing);
  if (camera.isPending) {
    return (
      <Loading>
        <div className="page-head" aria-hidden="true">
          <span className="line short to-come" />
        </div>
        <div className="stage" aria-hidden="true">
          <span className="picture to-come" />
        </div>
      </Loading>
    );
  }
  if (camera.isError) return <Failed error={camera.error} retry={() => void camera.refetch()} />;
  const still = (
    <Picture
      src={camera.data.stillUrl}
      identity={`${thing} ${camera.data.stillAt ?? 0}`}
      alt={camera.data.displayName}
      missing={texts.noPicture}
    />
  );
  return (
    <>
      <header className="page-head">
        <Link to="/">
          <span aria-hidden="true">← </span>
          {texts.back}
        </Link>
        <h1>{camera.data.displayName}</h1>
        <StateLine camera={camera.data}>{camera.data.fault !== "" && <span>: {camera.data.fault}</span>}</StateLine>
        <Capture thing={thing} />
      </header>
      <ClipBrowser thing={thing} whileNone={still} />
    </>
  );
}

function Capture({ thing }: { readonly thing: string }): ReactNode {
  const { api } = useHome();
  const mayWatch = useMay("watch");
  const mayOperate = useMay("operate");
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
      {mayWatch && (
        <button
          type="button"
          disabled={ask.isPending}
          onClick={() => {
            ask.mutate("still");
          }}
        >
          {texts.still}
        </button>
      )}
      {mayOperate && (
        <button
          type="button"
          disabled={ask.isPending}
          onClick={() => {
            ask.mutate("clip");
          }}
        >
          {texts.record}
        </button>
      )}
      <span role="status" className="quiet">
        {ask.isError ? ask.error.message : ask.data}
      </span>
    </span>
  );
}
