import { act } from "react";
import { createRoot, type Root } from "react-dom/client";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { Picture } from "./Picture";

let root: Root;
let box: HTMLElement;

beforeEach(() => {
  vi.stubGlobal("IS_REACT_ACT_ENVIRONMENT", true);
  box = document.createElement("div");
  root = createRoot(box);
});

afterEach(() => {
  act(() => {
    root.unmount();
  });
  vi.unstubAllGlobals();
});

function show(src: string | null, identity = "clip 1"): void {
  act(() => {
    root.render(<Picture src={src} identity={identity} missing="Motion" />);
  });
}

function happens(type: "load" | "error"): void {
  act(() => {
    box.querySelector("img")?.dispatchEvent(new Event(type));
  });
}

function shown(): string | null | undefined {
  return box.querySelector("img")?.getAttribute("src") ?? box.textContent;
}

test("without a picture the box says what there would be", () => {
  show(null);
  expect(shown()).toBe("Motion");
  expect(box.querySelector(".picture")).not.toBeNull();
});

test("a picture that is there is not fetched again under its next address", () => {
  show("/a?until=1");
  happens("load");
  show("/a?until=2");
  expect(shown()).toBe("/a?until=1");
});

test("one that is not there yet gets the address that is still good", () => {
  show("/a?until=1");
  show("/a?until=2");
  expect(shown()).toBe("/a?until=2");
});

test("one that could not be fetched is tried under the next address", () => {
  show("/a?until=1");
  happens("error");
  expect(shown()).toBe("Motion");
  show("/a?until=2");
  expect(shown()).toBe("/a?until=2");
});

test("another picture takes its place at once", () => {
  show("/a?until=1");
  happens("load");
  show("/b?until=1", "clip 2");
  expect(shown()).toBe("/b?until=1");
});
