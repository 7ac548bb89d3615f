import type { InvalidateQueryFilters } from "@tanstack/react-query";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { Freshness } from "./freshness";

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

test("many events of a moment are one question", async () => {
  const asked: unknown[] = [];
  const invalidateQueries = (filters?: InvalidateQueryFilters): Promise<void> => {
    asked.push(filters?.queryKey);
    return Promise.resolve();
  };
  const freshness = new Freshness({ invalidateQueries });
  for (let count = 0; count < 20; count++) freshness.mark(["cameras"]);
  freshness.mark(["clips"]);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(asked).toEqual([["cameras"], ["clips"]]);
});

test("a question is never broken off by the next, which follows", async () => {
  let answer: (() => void) | undefined;
  let asked = 0;
  const freshness = new Freshness({
    invalidateQueries: () => {
      asked += 1;
      return new Promise((resolve) => (answer = resolve));
    },
  });
  freshness.mark(["cameras"]);
  await vi.advanceTimersByTimeAsync(1_000);
  freshness.mark(["cameras"]);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(asked).toBe(1);
  answer?.();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(asked).toBe(2);
});
