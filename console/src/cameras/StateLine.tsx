import type { ReactNode } from "react";

import type { Camera } from "../api/client";
import { texts } from "../ui/texts";
import { exactTime, timeAgo } from "../ui/time";
import { useNow } from "../ui/useNow";
import { stateOf } from "./state";

/** "Recording · moved 3 min. ago": a word beside the colour, always. */
export function StateLine({ camera, children }: { readonly camera: Camera; readonly children?: ReactNode }): ReactNode {
  const now = useNow();
  const state = stateOf(camera);
  return (
    <span className="state">
      <span className={`dot ${state.meaning}`} aria-hidden="true" />
      <span className={`word ${state.meaning}`}>{state.word}</span>
      {children}
      {camera.lastMotionAt !== null && (
        <span title={exactTime(camera.lastMotionAt)}> · {texts.moved(timeAgo(camera.lastMotionAt, now))}</span>
      )}
    </span>
  );
}
