import type { ReactNode } from "react";
import { Link } from "react-router";

import type { Camera } from "../api/client";
import { Failed, Loading } from "../ui/states";
import { texts } from "../ui/texts";
import { exactTime, timeAgo } from "../ui/time";
import { useCameras } from "./queries";
import { stateOf } from "./state";

/** All cameras: what is happening now. */
export function Wall(): ReactNode {
  const cameras = useCameras();
  if (cameras.isPending) return <Loading />;
  if (cameras.isError) return <Failed error={cameras.error} retry={() => void cameras.refetch()} />;
  if (cameras.data.length === 0) return <FirstCamera />;
  return (
    <ul className="wall">
      {cameras.data.map((camera) => (
        <li key={camera.thingName}>
          <CameraCard camera={camera} />
        </li>
      ))}
    </ul>
  );
}

function CameraCard({ camera }: { readonly camera: Camera }): ReactNode {
  const state = stateOf(camera);
  return (
    <Link className="card" to={`/cameras/${encodeURIComponent(camera.thingName)}`}>
      <span className="picture">
        {camera.stillUrl === null ? (
          <span className="quiet">{texts.noPicture}</span>
        ) : (
          <img src={camera.stillUrl} alt="" loading="lazy" />
        )}
      </span>
      <span className="card-words">
        <strong>{camera.displayName}</strong>
        <span className="state">
          <span className={`dot ${state.meaning}`} aria-hidden="true" />
          {state.word}
          {camera.lastMotionAt !== null && (
            <span title={exactTime(camera.lastMotionAt)}> · {texts.moved(timeAgo(camera.lastMotionAt))}</span>
          )}
        </span>
      </span>
    </Link>
  );
}

function FirstCamera(): ReactNode {
  return (
    <section className="notice">
      <h1>{texts.noCameras}</h1>
      <p>{texts.addCamera}</p>
      <pre>
        <code>{texts.addCommand}</code>
      </pre>
      <p>{texts.addNext}</p>
    </section>
  );
}
