import { afterEach, beforeEach, expect, test, vi } from "vitest";

import type { Video } from "../api/client";
import { Deletions, UNDO_MS } from "./deletions";

const clip = { thingName: "garden", video: "1.motion.mp4", startedAt: 1 } as Video;
const other = { thingName: "garden", video: "2.motion.mp4", startedAt: 2 } as Video;

let sent: [string, boolean][];
let outcome: () => Promise<void>;
let deletions: Deletions;

beforeEach(() => {
  vi.useFakeTimers();
  sent = [];
  outcome = () => Promise.resolve();
  deletions = new Deletions(({ video }, { leaving }) => {
    sent.push([video, leaving]);
    return outcome();
  });
});

afterEach(() => {
  vi.useRealTimers();
});

test("a clip is hidden at once and deleted after ten seconds", async () => {
  deletions.ask(clip);
  expect(deletions.now().hidden).toContain("garden/1.motion.mp4");
  await vi.advanceTimersByTimeAsync(UNDO_MS - 1);
  expect(sent).toEqual([]);
  await vi.advanceTimersByTimeAsync(1);
  expect(sent).toEqual([["1.motion.mp4", false]]);
  expect(deletions.now().waiting).toEqual([]);
  expect(deletions.now().hidden).toContain("garden/1.motion.mp4");
});

test("what is taken back is there again, and is never deleted", async () => {
  deletions.ask(clip);
  deletions.undo(clip);
  await vi.advanceTimersByTimeAsync(2 * UNDO_MS);
  expect(sent).toEqual([]);
  expect(deletions.now().hidden.size).toBe(0);
});

test("leaving the page deletes at once what waits, and only once", async () => {
  deletions.ask(clip);
  deletions.ask(other);
  deletions.undo(other);
  deletions.leave();
  await vi.advanceTimersByTimeAsync(2 * UNDO_MS);
  expect(sent).toEqual([["1.motion.mp4", true]]);
});

test("a deletion that fails shows the clip again and says why", async () => {
  outcome = () => Promise.reject(new Error("the disk is gone"));
  deletions.ask(clip);
  await vi.advanceTimersByTimeAsync(UNDO_MS);
  expect(deletions.now().hidden.size).toBe(0);
  expect(deletions.now().error).toBe("the disk is gone");
  deletions.forgetError();
  expect(deletions.now().error).toBeUndefined();
});

test("who looks is told of each change, until looking ends", () => {
  const seen = vi.fn();
  const end = deletions.subscribe(seen);
  deletions.ask(clip);
  deletions.ask(clip);
  expect(seen).toHaveBeenCalledTimes(1);
  end();
  deletions.undo(clip);
  expect(seen).toHaveBeenCalledTimes(1);
});
