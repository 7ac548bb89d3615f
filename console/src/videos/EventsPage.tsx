import { useState, type ReactNode } from "react";

import type { Video } from "../api/client";
import { useCameras } from "../cameras/queries";
import { texts } from "../ui/texts";
import { ClipList } from "./ClipList";
import { Player } from "./Player";

/** What happened while nobody looked: clips of all cameras. */
export function EventsPage(): ReactNode {
  const cameras = useCameras();
  const [chosen, choose] = useState<Video | undefined>();
  const names = new Map(cameras.data?.map((camera) => [camera.thingName, camera.displayName]));
  return (
    <>
      <h1>{texts.events}</h1>
      {chosen !== undefined && (
        <div className="stage">
          <Player
            key={`${chosen.thingName}/${chosen.video}`}
            clip={chosen}
            onRemoved={() => {
              choose(undefined);
            }}
          />
        </div>
      )}
      <ClipList
        thing={undefined}
        chosen={chosen?.video}
        choose={choose}
        nameOf={(thing) => names.get(thing) ?? thing}
      />
    </>
  );
}
