import type { ReactNode } from "react";

import { useCameras } from "../cameras/queries";
import { texts } from "../ui/texts";
import { ClipBrowser } from "./ClipBrowser";

/** What happened while nobody looked: clips of all cameras. */
export function EventsPage(): ReactNode {
  const cameras = useCameras();
  const names = new Map(cameras.data?.map((camera) => [camera.thingName, camera.displayName]));
  return (
    <>
      <header className="page-head">
        <h1>{texts.events}</h1>
      </header>
      <ClipBrowser thing={undefined} nameOf={(thing) => names.get(thing) ?? thing} />
    </>
  );
}
