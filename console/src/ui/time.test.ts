// @vitest-environment node
import { expect, test } from "vitest";

import { dayOf, exactTime, timeAgo } from "./time";

const NOW = new Date(2026, 2, 15, 14, 30).getTime();
const MINUTE = 60_000;

test.each([
  [-5_000, "just now"],
  [0, "just now"],
  [59_000, "just now"],
  [MINUTE, "1 min. ago"],
  [59 * MINUTE, "59 min. ago"],
  [60 * MINUTE, "1 hr. ago"],
  [23 * 60 * MINUTE, "23 hr. ago"],
])("%d ms ago is %s", (age, words) => {
  expect(timeAgo(NOW - age, NOW)).toBe(words);
});

test("what is longer ago than a day is told exactly", () => {
  const long = NOW - 25 * 60 * MINUTE;
  expect(timeAgo(long, NOW)).toBe(exactTime(long));
});

test.each([
  [new Date(2026, 2, 15, 0, 0), "Today"],
  [new Date(2026, 2, 14, 23, 59), "Yesterday"],
  [new Date(2026, 2, 14, 0, 0), "Yesterday"],
  [new Date(2026, 2, 13, 23, 59), "Friday, March 13"],
  [new Date(2025, 11, 31, 12, 0), "December 31, 2025"],
])("%s is %s", (moment, words) => {
  expect(dayOf(moment.getTime(), NOW)).toBe(words);
});

test("yesterday is the day before, even if one of the two has 23 or 25 hours", () => {
  for (let day = 1; day <= 365; day++) {
    const noon = new Date(2026, 0, day, 12).getTime();
    expect(dayOf(new Date(2026, 0, day - 1, 0, 30).getTime(), noon)).toBe("Yesterday");
    expect(dayOf(new Date(2026, 0, day - 2, 23, 30).getTime(), noon)).not.toBe("Yesterday");
  }
});
