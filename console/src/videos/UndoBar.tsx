import { useSyncExternalStore, type ReactNode } from "react";

import { useHome } from "../ui/home";
import { texts } from "../ui/texts";
import { clockTime } from "../ui/time";
import { clipKey, type DeletionsNow } from "./deletions";

export function useDeletions(): DeletionsNow {
  const { deletions } = useHome();
  return useSyncExternalStore(deletions.subscribe, deletions.now);
}

/** What was deleted a moment ago, with the way back. */
export function UndoBar(): ReactNode {
  const { deletions } = useHome();
  const { waiting, error } = useDeletions();
  return (
    <div className="undo" role="status">
      {error !== undefined && (
        <p className="undo-line fault">
          {texts.notRemoved(error)}
          <button
            type="button"
            onClick={() => {
              deletions.forgetError();
            }}
          >
            {texts.dismiss}
          </button>
        </p>
      )}
      {waiting.map((clip) => (
        <p key={clipKey(clip)} className="undo-line">
          {texts.removed(clockTime(clip.startedAt))}
          <button
            type="button"
            onClick={() => {
              deletions.undo(clip);
            }}
          >
            {texts.undo}
          </button>
        </p>
      ))}
    </div>
  );
}
