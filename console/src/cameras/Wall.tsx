import type { ReactNode } from "react";
import { Link } from "react-router";

import type { Camera } from "../api/client";
import { useMay, useMe } from "../people/queries";
import { Picture } from "../ui/Picture";
import { CardsToCome, Failed } from "../ui/states";
import { texts } from "../ui/texts";
import { timeAgo } from "../ui/time";
import { useNow } from "../ui/useNow";
import { pathOf } from "./paths";
import { useCameras } from "./queries";
import { stateOf } from "./state";
import { StateLine } from "./StateLine";

const NAMED_MAX = 3;

/** All cameras: what is happening now. */
export function Wall(): ReactNode {
  const cameras = useCameras();
  const mayAdd = useMay("own");
  if (cameras.isPending) return <CardsToCome className="wall" count={6} />;
  if (cameras.isError) return <Failed error={cameras.error} retry={() => void cameras.refetch()} />;
  if (cameras.data.length === 0) return <FirstCamera />;
  return (
    <>
      <header className="page-head">
        <h1>{texts.home}</h1>
        <Needs cameras={cameras.data} />
        {mayAdd && (
          <Link className="button" to="/register">
            {texts.addCamera}
          </Link>
        )}
      </header>
      <ul className="wall">
        {cameras.data.map((camera) => (
          <li key={camera.thingName}>
            <CameraCard camera={camera} />
          </li>
        ))}
      </ul>
    </>
  );
}

/** One line about what needs somebody, and nothing when nothing does. */
function Needs({ cameras }: { readonly cameras: readonly Camera[] }): ReactNode {
  const now = useNow();
  const needing = cameras.filter((camera) => stateOf(camera).meaning === "fault");
  return (
    <p className="needs" role="status">
      {needing.length > 1 && <span>{texts.needs.many(needing.length)}</span>}
      {needing.slice(0, NAMED_MAX).map((camera) => {
        const { word, since } = stateOf(camera);
        const what = since === null ? word : `${word} ${texts.needs.since(timeAgo(since, now))}`;
        return (
          <Link key={camera.thingName} to={pathOf(camera)}>
            {texts.needs.one(camera.displayName, what)}
          </Link>
        );
      })}
      {needing.length > NAMED_MAX && <span>…</span>}
    </p>
  );
}

function CameraCard({ camera }: { readonly camera: Camera }): ReactNode {
  return (
    <Link className="card" to={pathOf(camera)}>
      <Picture
        src={camera.stillUrl}
        identity={`${camera.thingName} ${camera.stillAt ?? 0}`}
        missing={texts.noPicture}
      />
      <span className="card-words">
        <strong>{camera.displayName}</strong>
        <StateLine camera={camera} />
      </span>
    </Link>
  );
}

function FirstCamera(): ReactNode {
  const me = useMe();
  if (me.isPending) return <CardsToCome className="wall" count={6} />;
  const mayAdd = me.data?.permissions.includes("own") ?? false;
  return (
    <section className="notice">
      <h1>{texts.noCameras}</h1>
      {mayAdd ? (
        <>
          <p>{texts.addNext}</p>
          <p>
            <Link className="button main" to="/register">
              {texts.addCamera}
            </Link>
          </p>
          <p className="quiet">{texts.addByCommand}</p>
          <pre>
            <code>{texts.addCommand}</code>
          </pre>
        </>
      ) : (
        <p>{texts.noCamerasForYou}</p>
      )}
    </section>
  );
}
