import type { ReactNode } from "react";

import type { Video } from "../api/client";
import { Failed, Loading } from "../ui/states";
import { texts } from "../ui/texts";
import { clockTime, dayOf, exactTime } from "../ui/time";
import { useClips } from "./queries";

interface Props {
  readonly thing: string | undefined;
  readonly chosen: string | undefined;
  readonly choose: (clip: Video) => void;
  readonly nameOf?: (thing: string) => string;
}

/** Clips by day. */
export function ClipList({ thing, chosen, choose, nameOf }: Props): ReactNode {
  const clips = useClips(thing);
  if (clips.isPending) return <Loading />;
  if (clips.isError) return <Failed error={clips.error} retry={() => void clips.refetch()} />;
  const found = clips.data.pages.flatMap((page) => page.items);
  if (found.length === 0 && !clips.hasNextPage) return <p className="quiet">{texts.noClips}</p>;
  return (
    <>
      {byDay(found).map(([day, ofDay]) => (
        <section key={day}>
          <h2>{day}</h2>
          <ul className="clips">
            {ofDay.map((clip) => (
              <li key={`${clip.thingName}/${clip.video}`}>
                <button
                  type="button"
                  className="card"
                  aria-pressed={clip.video === chosen}
                  aria-label={texts.play(exactTime(clip.startedAt))}
                  onClick={() => {
                    choose(clip);
                  }}
                >
                  <span className="picture">
                    {clip.thumbnailUrl !== null && <img src={clip.thumbnailUrl} alt="" loading="lazy" />}
                  </span>
                  <span className="card-words">
                    <strong>{clockTime(clip.startedAt)}</strong>
                    <span className="state">
                      {nameOf !== undefined && `${nameOf(clip.thingName)} · `}
                      {texts.seconds(clip.durationSeconds)} ·{" "}
                      {Object.keys(clip.labels).join(", ") || (texts.trigger[clip.trigger] ?? clip.trigger)}
                      {clip.starred && " · ★"}
                    </span>
                  </span>
                </button>
              </li>
            ))}
          </ul>
        </section>
      ))}
      {clips.hasNextPage && (
        <button type="button" disabled={clips.isFetchingNextPage} onClick={() => void clips.fetchNextPage()}>
          {texts.more}
        </button>
      )}
    </>
  );
}

function byDay(clips: readonly Video[]): [string, Video[]][] {
  const days = new Map<string, Video[]>();
  for (const clip of clips) {
    const day = dayOf(clip.startedAt);
    days.set(day, [...(days.get(day) ?? []), clip]);
  }
  return [...days];
}
