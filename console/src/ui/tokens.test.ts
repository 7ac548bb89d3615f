// @vitest-environment node
import { expect, test } from "vitest";

import css from "./tokens.css?raw";

const [light = "", dark = ""] = css.split("@media (prefers-color-scheme: dark)");

function colours(block: string): Record<string, string> {
  return Object.fromEntries([...block.matchAll(/--([a-z-]+): (#[0-9a-f]{6});/g)].map(([, name = "", value = ""]) => [name, value]));
}

/** WCAG 2.2, relative luminance. */
function luminance(colour: string): number {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5]
    .map((at) => Number.parseInt(colour.slice(at, at + 2), 16) / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one: string, other: string): number {
  const [darker = 0, lighter = 0] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (lighter + 0.05) / (darker + 0.05);
}

const themes = [
  ["light", colours(light)],
  ["dark", { ...colours(light), ...colours(dark) }],
] as const;

const words = ["text", "quiet", "accent", "fault", "attention", "live"].flatMap((name) => [
  [name, "ground"] as const,
  [name, "surface"] as const,
]);

test.each(themes)("words can be read on every ground (WCAG AA, 4.5), %s", (_, theme) => {
  const pairs = [...words, ["on-accent", "accent"] as const, ["on-void", "void"] as const];
  const poor = pairs.filter(([word, ground]) => !(contrast(theme[word] ?? "", theme[ground] ?? "") >= 4.5));
  expect(poor).toEqual([]);
});

test.each(themes)("the edges of fields and what marks the focus can be seen (WCAG AA, 3), %s", (_, theme) => {
  const pairs = ["edge", "accent"].flatMap((name) => [[name, "ground"] as const, [name, "surface"] as const]);
  const poor = pairs.filter(([mark, ground]) => !(contrast(theme[mark] ?? "", theme[ground] ?? "") >= 3));
  expect(poor).toEqual([]);
});

test("the dark theme has every colour that lies on its grounds", () => {
  const missing = Object.keys(colours(light)).filter((name) => !(name in colours(dark)));
  expect(missing).toEqual(["void", "on-void"]);
});
