import type { Camera } from "../api/client";
import { texts } from "../ui/texts";

export interface CameraState {
  readonly word: string;
  readonly meaning: "fault" | "live" | "quiet";
  /** Since when somebody is needed, where somebody is and that is known. */
  readonly since: number | null;
}

/** What a camera is doing, the worst first. */
export function stateOf(camera: Camera): CameraState {
  if (!camera.online) return { word: texts.state.offline, meaning: "fault", since: camera.onlineChangedAt };
  if (camera.silent) return { word: texts.state.silent, meaning: "fault", since: camera.lastSeenAt };
  if (camera.fault !== "") return { word: texts.state.fault, meaning: "fault", since: null };
  if (camera.recording) return { word: texts.state.recording, meaning: "live", since: null };
  return { word: texts.state.watching, meaning: "quiet", since: null };
}
