// @vitest-environment node
import { expect, test } from "vitest";

import type { Me } from "../api/client";
import { browserOf, nameOf, roleOf } from "./words";

test.each([
  ["Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"],
  ["Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0", "Edge on Windows"],
  ["Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36", "Chrome on Android"],
  ["Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1 Version/18.0 Safari/604.1", "Safari on iPhone"],
  ["curl/8.0", "A browser"],
  ["", "A browser"],
])("%s is %s", (userAgent, words) => {
  expect(browserOf(userAgent)).toBe(words);
});

test("a person is called by the address and the role", () => {
  const me: Me = { id: "p", email: "a@b.org", role: "viewer", groups: ["Garden", "Gate"], permissions: ["read"] };
  expect(nameOf(me)).toBe("a@b.org");
  expect(roleOf(me)).toBe("Viewer, sees Garden and Gate");
  expect(nameOf({ ...me, email: null })).toBe("Owner");
  expect(roleOf({ ...me, role: "owner", groups: null })).toBe("Owner");
});
