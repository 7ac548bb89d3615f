import { useCallback, useEffect, useMemo, useRef, useState, type ReactNode } from "react";

import type { Video } from "../api/client";
import { CardsToCome, Failed } from "../ui/states";
import { texts } from "../ui/texts";
import { ClipList } from "./ClipList";
import { clipKey } from "./deletions";
import { Player } from "./Player";
import { useClips } from "./queries";
import { useClipKeys } from "./useClipKeys";
import { useDeletions } from "./UndoBar";

interface Props {
  /** Whose clips; all cameras' when undefined. */
  readonly thing: string | undefined;
  readonly nameOf?: (thing: string) => string;
  /** What stands on the stage while no clip is chosen; without it the stage is not there then. */
  readonly whileNone?: ReactNode;
}

/** Clips, and the one that plays. */
export function ClipBrowser({ thing, nameOf, whileNone }: Props): ReactNode {
  const clips = useClips(thing);
  const { hidden } = useDeletions();
  const [chosenKey, setChosen] = useState<string | undefined>();
  const list = useRef<HTMLElement>(null);
  const player = useRef<HTMLVideoElement>(null);
  const shown = useMemo(
    () => (clips.data?.pages ?? []).flatMap((page) => page.items).filter((clip) => !hidden.has(clipKey(clip))),
    [clips.data, hidden],
  );
  const chosen = shown.find((clip) => clipKey(clip) === chosenKey);
  const choose = useCallback((clip: Video | undefined) => {
    setChosen(clip === undefined ? undefined : clipKey(clip));
  }, []);
  const { hasNextPage, isFetchingNextPage, fetchNextPage } = clips;
  const onEnd = useCallback(() => {
    if (hasNextPage && !isFetchingNextPage) void fetchNextPage();
  }, [hasNextPage, isFetchingNextPage, fetchNextPage]);
  useClipKeys({ clips: shown, chosen, choose, player, onEnd });
  useEffect(() => {
    if (chosenKey === undefined) return;
    list.current?.querySelector<HTMLElement>("[aria-pressed=true]")?.focus();
  }, [chosenKey]);
  const isStaged = chosen !== undefined || whileNone !== undefined;
  return (
    <div className={isStaged ? "browser staged" : "browser"}>
      {isStaged && (
        <div className={chosen === undefined ? "stage" : "stage playing"}>
          {chosen === undefined ? (
            whileNone
          ) : (
            <Player
              key={clipKey(chosen)}
              clip={chosen}
              video={player}
              onClose={() => {
                choose(undefined);
              }}
            />
          )}
        </div>
      )}
      <section ref={list} aria-label={texts.clips}>
        {clips.isPending ? (
          <CardsToCome className="clips" count={8} />
        ) : clips.isError ? (
          <Failed error={clips.error} retry={() => void clips.refetch()} />
        ) : shown.length === 0 && !hasNextPage ? (
          <p className="nothing">{texts.noClips}</p>
        ) : (
          <>
            <ClipList
              clips={shown}
              chosen={chosen === undefined ? undefined : chosenKey}
              choose={choose}
              {...(nameOf === undefined ? {} : { nameOf })}
            />
            {hasNextPage && (
              <button type="button" disabled={isFetchingNextPage} onClick={onEnd}>
                {texts.more}
              </button>
            )}
          </>
        )}
      </section>
    </div>
  );
}
