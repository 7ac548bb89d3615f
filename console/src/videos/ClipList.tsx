import type { ReactNode } from "react";

import type { Video } from "../api/client";
import { Picture } from "../ui/Picture";
import { texts } from "../ui/texts";
import { clockTime, dayOf, exactTime } from "../ui/time";
import { useNow } from "../ui/useNow";
import { clipKey } from "./deletions";

interface Props {
  readonly clips: readonly Video[];
  /** `clipKey` of the one that plays. */
  readonly chosen: string | undefined;
  readonly choose: (clip: Video) => void;
  readonly nameOf?: (thing: string) => string;
}

/** Clips by day. */
export function ClipList({ clips, chosen, choose, nameOf }: Props): ReactNode {
  const now = useNow();
  return byDay(clips, now).map(([day, ofDay]) => (
    <section key={day}>
      <h2>{day}</h2>
      <ul className="clips">
        {ofDay.map((clip) => (
          <li key={clipKey(clip)}>
            <button
              type="button"
              className="card"
              aria-pressed={clipKey(clip) === chosen}
              aria-label={labelOf(clip, nameOf)}
              onClick={() => {
                choose(clip);
              }}
            >
              <Picture src={clip.thumbnailUrl} identity={clipKey(clip)} missing={triggerOf(clip)} />
              <span className="card-words">
                <strong>{clockTime(clip.startedAt)}</strong>
                <span className="state">
                  {nameOf !== undefined && `${nameOf(clip.thingName)} · `}
                  {texts.seconds(clip.durationSeconds)} · {whatIsIn(clip)}
                  {clip.starred && (
                    <>
                      {" "}
                      · <span aria-hidden="true">★</span>
                    </>
                  )}
                </span>
              </span>
            </button>
          </li>
        ))}
      </ul>
    </section>
  ));
}

function triggerOf(clip: Video): string {
  return texts.trigger[clip.trigger] ?? clip.trigger;
}

function whatIsIn(clip: Video): string {
  return Object.keys(clip.labels).join(", ") || triggerOf(clip);
}

function labelOf(clip: Video, nameOf: Props["nameOf"]): string {
  const parts = [texts.play(exactTime(clip.startedAt)), whatIsIn(clip)];
  if (nameOf !== undefined) parts.push(nameOf(clip.thingName));
  if (clip.starred) parts.push(texts.starred);
  return parts.join(", ");
}

function byDay(clips: readonly Video[], now: number): [string, Video[]][] {
  const days = new Map<string, Video[]>();
  for (const clip of clips) {
    const day = dayOf(clip.startedAt, now);
    const ofDay = days.get(day);
    if (ofDay === undefined) days.set(day, [clip]);
    else ofDay.push(clip);
  }
  return [...days];
}
