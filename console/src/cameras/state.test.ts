// @vitest-environment node
import { expect, test } from "vitest";

import type { Camera } from "../api/client";
import { stateOf } from "./state";

const well = {
  online: true,
  silent: false,
  fault: "",
  recording: false,
  onlineChangedAt: 5,
  lastSeenAt: 7,
} as Camera;

test.each([
  [{}, "Watching", "quiet", null],
  [{ recording: true }, "Recording", "live", null],
  [{ recording: true, fault: "no frames" }, "No pictures", "fault", null],
  [{ silent: true, fault: "no frames" }, "Not heard of", "fault", 7],
  [{ online: false, silent: true, recording: true }, "Offline", "fault", 5],
] as const)("a camera that is %o is told as %s", (change, word, meaning, since) => {
  expect(stateOf({ ...well, ...change })).toEqual({ word, meaning, since });
});
