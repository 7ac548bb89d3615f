import type { Me } from "../api/client";
import { texts } from "../ui/texts";

const BROWSERS: readonly (readonly [RegExp, string])[] = [
  [/Edg(e|A|iOS)?\//, "Edge"],
  [/OPR\//, "Opera"],
  [/SamsungBrowser\//, "Samsung Internet"],
  [/(Firefox|FxiOS)\//, "Firefox"],
  [/(Chrome|CriOS)\//, "Chrome"],
  [/Safari\//, "Safari"],
];
const SYSTEMS: readonly (readonly [RegExp, string])[] = [
  [/iPhone/, "iPhone"],
  [/iPad/, "iPad"],
  [/Android/, "Android"],
  [/Windows/, "Windows"],
  [/Mac OS X|Macintosh/, "Mac"],
  [/CrOS/, "ChromeOS"],
  [/Linux/, "Linux"],
];

/** "Firefox on Linux", as far as a browser tells. */
export function browserOf(userAgent: string): string {
  const browser = BROWSERS.find(([pattern]) => pattern.test(userAgent))?.[1];
  const system = SYSTEMS.find(([pattern]) => pattern.test(userAgent))?.[1];
  if (browser === undefined) return texts.people.unknownBrowser;
  return system === undefined ? browser : texts.people.browser(browser, system);
}

/** "Viewer, sees Garden and Gate". */
export function roleOf(me: Me): string {
  const role = me.role === null ? texts.people.noRole : (texts.people.role[me.role] ?? me.role);
  if (me.groups === null) return role;
  return `${role}, ${texts.people.limited(new Intl.ListFormat("en").format(me.groups))}`;
}

/** What stands for somebody: the address, or, for the owner that every hub begins with, the role. */
export function nameOf(me: Me): string {
  return me.email ?? texts.people.theOwner;
}
