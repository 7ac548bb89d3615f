import type { Camera } from "../api/client";
import { texts } from "../ui/texts";

export interface CameraState {
  readonly word: string;
  readonly meaning: "fault" | "live" | "quiet";
}

/** What a camera is doing, the worst first. */
export function stateOf(camera: Camera): CameraState {
  if (camera.fault !== "") return { word: texts.state.fault, meaning: "fault" };
  if (camera.silent) return { word: texts.state.silent, meaning: "fault" };
  if (!camera.online) return { word: texts.state.offline, meaning: "fault" };
  if (camera.recording) return { word: texts.state.recording, meaning: "live" };
  return { word: texts.state.watching, meaning: "quiet" };
}
