import { useEffect, type RefObject } from "react";

import type { Video } from "../api/client";
import { clipKey } from "./deletions";

interface Options {
  readonly clips: readonly Video[];
  readonly chosen: Video | undefined;
  readonly choose: (clip: Video | undefined) => void;
  readonly player: RefObject<HTMLVideoElement | null>;
  /** The end of the list was reached. */
  readonly onEnd: () => void;
}

const STEPS: Readonly<Record<string, number>> = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

/** Arrow keys step through clips, space plays and pauses, Escape closes: wherever these keys mean nothing else. */
export function useClipKeys({ clips, chosen, choose, player, onEnd }: Options): void {
  useEffect(() => {
    const step = (by: number): void => {
      const at = chosen === undefined ? -1 : clips.findIndex((clip) => clipKey(clip) === clipKey(chosen));
      const next = clips[chosen === undefined ? 0 : at + by];
      if (next !== undefined) choose(next);
      else if (by > 0) onEnd();
    };
    const onKey = (event: KeyboardEvent): void => {
      if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
      if (document.querySelector(":popover-open") !== null || meansSomethingElse(event)) return;
      const by = STEPS[event.key];
      if (by !== undefined) step(by);
      else if (event.key === "Escape" && chosen !== undefined) choose(undefined);
      else if (event.key === " " && player.current !== null) toggle(player.current);
      else return;
      event.preventDefault();
    };
    document.addEventListener("keydown", onKey);
    return () => {
      document.removeEventListener("keydown", onKey);
    };
  }, [clips, chosen, choose, player, onEnd]);
}

function toggle(video: HTMLVideoElement): void {
  if (video.paused) void video.play();
  else video.pause();
}

/** Whether what has the focus takes this key for itself. */
function meansSomethingElse(event: KeyboardEvent): boolean {
  const { target } = event;
  if (!(target instanceof Element) || event.key === "Escape") return false;
  if (target.closest("input, textarea, select, video, [contenteditable]") !== null) return true;
  // Space presses a button or follows a link; on the clip that plays there is nothing left to press.
  return event.key === " " && target.closest("button:not([aria-pressed=true]), a, summary") !== null;
}
