// @vitest-environment node
import { expect, test } from "vitest";

import { codeOf, isThingName, thingNameOf } from "./names";

test.each(["BCDFGHJK", "bcdf-ghjk", " bcdf ghjk ", "b c d f - g h j k"])("%s is taken as a code", (typed) => {
  expect(codeOf(typed)).toBe("BCDF-GHJK");
});

test.each(["", "BCDF", "BCDF-GHJA", "BCDF-GHJ1", "BCDF-GHJKL"])("'%s' is no code", (typed) => {
  expect(codeOf(typed)).toBeUndefined();
});

test.each([
  ["Garden door", "garden-door"],
  ["Café, back  door!", "cafe-back-door"],
  ["  -Gate 2- ", "gate-2"],
  ["门", ""],
  ["a".repeat(100), "a".repeat(64)],
])("%s is %s for programs", (name, thing) => {
  expect(thingNameOf(name)).toBe(thing);
  expect(isThingName(thing)).toBe(thing !== "");
});
