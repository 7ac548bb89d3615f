import { afterEach, beforeEach, expect, test, vi } from "vitest";

import type { Settings } from "../api/settings";
import { Session, SignedOut } from "./session";

const settings: Settings = {
  api: "/api",
  socket: "/socket",
  authorize: "/oauth2/authorize",
  token: "/oauth2/token",
  signOut: "/sign-out",
  passkeys: "/sign-in/passkeys",
  clientId: "console",
};

let page: { origin: string; pathname: string; search: string; assign: (address: string) => void };
let gone: string[];
let asked: URLSearchParams[];
let answers: (() => Response)[];

function tokens(access: string, more: Record<string, unknown> = {}): () => Response {
  return () => Response.json({ access_token: access, refresh_token: `refresh of ${access}`, expires_in: 600, ...more });
}

function base64Url(bytes: string): string {
  return btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

beforeEach(() => {
  gone = [];
  asked = [];
  answers = [];
  page = { origin: "https://hub", pathname: "/events", search: "", assign: (address) => gone.push(address) };
  vi.stubGlobal("location", page);
  vi.stubGlobal("fetch", (_: string, { body }: { body: URLSearchParams }) => {
    asked.push(body);
    const answer = answers.shift();
    return answer === undefined ? Promise.reject(new Error("nothing more was to be asked")) : Promise.resolve(answer());
  });
  vi.useFakeTimers({ toFake: ["Date"] });
});

afterEach(() => {
  sessionStorage.clear();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

/** Go to the identity provider: the parameters that it gets. */
async function begun(path = "/cameras/garden?x=1"): Promise<URLSearchParams> {
  await new Session(settings).begin(path);
  const address = gone.at(-1) ?? "";
  expect(address.startsWith("/oauth2/authorize?")).toBe(true);
  return new URLSearchParams(address.slice(address.indexOf("?")));
}

/** Come back from there, into a page that was loaded anew. */
async function signedIn(access = "one", more: Record<string, unknown> = {}): Promise<Session> {
  const { state } = Object.fromEntries(await begun());
  page.pathname = "/signed-in";
  page.search = `?code=c&state=${state ?? ""}`;
  answers.push(tokens(access, more));
  const session = new Session(settings);
  expect(await session.complete()).toBe("/cameras/garden?x=1");
  asked.shift();
  return session;
}

test("the code is exchanged with the verifier whose challenge was sent", async () => {
  const sent = await begun();
  page.pathname = "/signed-in";
  page.search = `?code=the-code&state=${sent.get("state") ?? ""}`;
  answers.push(tokens("one"));
  const session = new Session(settings);
  expect(await session.complete()).toBe("/cameras/garden?x=1");
  const [form] = asked;
  const verifier = form?.get("code_verifier") ?? "";
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  expect(sent.get("code_challenge")).toBe(base64Url(String.fromCharCode(...new Uint8Array(digest))));
  expect(sent.get("code_challenge_method")).toBe("S256");
  expect(verifier.length).toBeGreaterThanOrEqual(43);
  expect(form?.get("code")).toBe("the-code");
  expect(form?.get("redirect_uri")).toBe("https://hub/signed-in");
  expect(await session.accessToken()).toBe("one");
});

test("no two sign-ins have a state or a verifier in common", async () => {
  const [one, other] = [await begun(), await begun()];
  expect(one.get("state")).not.toBe(other.get("state"));
  expect(one.get("code_challenge")).not.toBe(other.get("code_challenge"));
});

test.each(["?code=c&state=of-somebody-else", "?state=x", "?error=access_denied", ""])(
  "a way back that was not begun here is not taken: %s",
  async (search) => {
    await begun();
    page.pathname = "/signed-in";
    page.search = search;
    const session = new Session(settings);
    expect(await session.complete()).toBe("/");
    expect(session.isOpen).toBe(false);
    expect(asked).toEqual([]);
  },
);

test("what was begun is good for one way back", async () => {
  await signedIn();
  const again = new Session(settings);
  expect(await again.complete()).toBe("/");
  expect(again.isOpen).toBe(false);
});

test("nothing of a token is kept where another page could find it", async () => {
  await signedIn("the-secret");
  expect(sessionStorage.length + localStorage.length).toBe(0);
});

test("a token is renewed a minute before its end, once for all who ask", async () => {
  const session = await signedIn("one");
  vi.setSystemTime(Date.now() + 539_000);
  expect(await session.accessToken()).toBe("one");
  vi.setSystemTime(Date.now() + 2_000);
  answers.push(tokens("two"));
  expect(await Promise.all([session.accessToken(), session.accessToken()])).toEqual(["two", "two"]);
  expect(asked).toHaveLength(1);
  expect(asked[0]?.get("refresh_token")).toBe("refresh of one");
});

test("each renewal shows the refresh token that the last one gave", async () => {
  const session = await signedIn("one");
  for (const name of ["two", "three"]) {
    vi.setSystemTime(Date.now() + 600_000);
    answers.push(tokens(name));
    await session.accessToken();
  }
  expect(asked.map((form) => form.get("refresh_token"))).toEqual(["refresh of one", "refresh of two"]);
});

test("a refresh token that is refused signs out", async () => {
  const session = await signedIn();
  vi.setSystemTime(Date.now() + 600_000);
  answers.push(() => Response.json({ error: "invalid_grant" }, { status: 400 }));
  await expect(session.accessToken()).rejects.toBeInstanceOf(SignedOut);
  expect(session.isOpen).toBe(false);
});

test("a home that is away for a moment does not sign out", async () => {
  const session = await signedIn();
  vi.setSystemTime(Date.now() + 600_000);
  answers.push(() => new Response("", { status: 503 }), tokens("two"));
  await expect(session.accessToken()).rejects.toThrow("503");
  expect(await session.accessToken()).toBe("two");
});

test("the browser's own session is known where the home tells it", async () => {
  const claims = base64Url(JSON.stringify({ sid: "s-1" }));
  expect((await signedIn(`head.${claims}.seal`)).id).toBe("s-1");
  expect((await signedIn("opaque")).id).toBeUndefined();
  expect((await signedIn("a.!!.b")).id).toBeUndefined();
});

test("many who find that nobody is signed in leave the page once", async () => {
  const session = new Session(settings);
  await Promise.all([session.begin("/"), session.begin("/events")]);
  expect(gone).toHaveLength(1);
});
