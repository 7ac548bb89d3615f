import type { Camera } from "../api/client";

/** Where a camera's page is. */
export function pathOf(camera: Pick<Camera, "thingName">): string {
  return `/cameras/${encodeURIComponent(camera.thingName)}`;
}
