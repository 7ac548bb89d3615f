import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { SignedOut } from "../auth/session";
import { EventStream, type HomeEvent, type Link } from "./events";

/** A socket whose other end is the test. */
class FakeSocket {
  static readonly OPEN = 1;
  static opened: FakeSocket[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((message: { data: unknown }) => void) | null = null;
  onclose: (() => void) | null = null;
  readyState = 0;
  readonly sent: unknown[] = [];

  constructor(
    readonly address: URL,
    readonly protocol: string,
  ) {
    FakeSocket.opened.push(this);
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }

  close(): void {
    this.readyState = 3;
  }

  accept(): void {
    this.readyState = FakeSocket.OPEN;
    this.onopen?.();
  }

  say(message: unknown): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  welcome(events: readonly unknown[] = [], more = false): void {
    this.say({ response: { action: "login", statusCode: 200, body: { events, more } } });
  }

  break(): void {
    this.readyState = 3;
    this.onclose?.();
  }
}

function eventOf(id: string): HomeEvent {
  return { id, type: "camera_online", camera: "garden", time: 1 } as HomeEvent;
}

let told: string[];
let links: Link[];
let gaps: number;
let signedOut: number;
let ticket: () => Promise<string>;
let stream: EventStream;

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("WebSocket", FakeSocket);
  FakeSocket.opened = [];
  told = [];
  links = [];
  gaps = 0;
  signedOut = 0;
  let tickets = 0;
  ticket = () => Promise.resolve(`ticket ${++tickets}`);
  stream = new EventStream("/socket", () => ticket(), {
    onEvent: (event) => told.push(event.id),
    onLink: (link) => links.push(link),
    onGap: () => gaps++,
    onSignedOut: () => signedOut++,
  });
});

afterEach(() => {
  stream.stop();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

async function newest(): Promise<FakeSocket> {
  await vi.advanceTimersByTimeAsync(0);
  const socket = FakeSocket.opened.at(-1);
  if (socket === undefined) throw new Error("no socket was opened");
  return socket;
}

async function live(): Promise<FakeSocket> {
  stream.start();
  const socket = await newest();
  socket.accept();
  socket.welcome();
  return socket;
}

test("the ticket goes in a message, never in the address", async () => {
  stream.start();
  const socket = await newest();
  socket.accept();
  expect(socket.address.href).toBe("ws://localhost:3000/socket");
  expect(socket.protocol).toBe("manager");
  expect(socket.sent).toEqual([{ action: "login", payload: { tokenId: "ticket 1" } }]);
});

test("it is live once it has been let in, and not before", async () => {
  stream.start();
  (await newest()).accept();
  expect(links).toEqual(["connecting"]);
  (await newest()).welcome();
  expect(links).toEqual(["connecting", "live"]);
});

test("each event is told once, however it comes", async () => {
  const socket = await live();
  socket.say({ event: eventOf("2") });
  socket.say({ event: eventOf("2") });
  socket.welcome([eventOf("1"), eventOf("2"), eventOf("3")]);
  expect(told).toEqual(["2", "1", "3"]);
});

test("what a lost connection has missed is asked for by the newest event that was heard", async () => {
  const socket = await live();
  socket.say({ event: eventOf("5") });
  socket.say({ event: eventOf("4") });
  socket.break();
  expect(links.at(-1)).toBe("lost");
  await vi.advanceTimersByTimeAsync(1_000);
  const again = await newest();
  expect(again).not.toBe(socket);
  again.accept();
  expect(again.sent).toEqual([{ action: "login", payload: { tokenId: "ticket 2", after: "5" } }]);
  again.welcome([eventOf("5"), eventOf("6")]);
  expect(told).toEqual(["5", "4", "6"]);
  expect(links.at(-1)).toBe("live");
});

test("more than can be caught up with has everything asked for anew", async () => {
  const socket = await live();
  socket.welcome([], true);
  expect(gaps).toBe(1);
});

test("a home that is away is asked again at growing distances, half a minute at most", async () => {
  ticket = () => Promise.reject(new Error("away"));
  vi.spyOn(Math, "random").mockReturnValue(0.5);
  const asked = vi.fn(ticket);
  ticket = asked;
  stream.start();
  await vi.advanceTimersByTimeAsync(0);
  const at: number[] = [];
  for (const wait of [500, 1_000, 2_000, 5_000, 10_000, 20_000, 30_000, 30_000]) {
    await vi.advanceTimersByTimeAsync(wait - 1);
    const before = asked.mock.calls.length;
    await vi.advanceTimersByTimeAsync(1);
    at.push(asked.mock.calls.length - before);
  }
  expect(at).toEqual([1, 1, 1, 1, 1, 1, 1, 1]);
  vi.restoreAllMocks();
});

test("a socket that does not answer is given up", async () => {
  const socket = await live();
  await vi.advanceTimersByTimeAsync(240_000);
  expect(socket.sent.at(-1)).toEqual({ action: "status", payload: {} });
  await vi.advanceTimersByTimeAsync(10_000);
  expect(links.at(-1)).toBe("lost");
});

test("an answer to the question whether it is there keeps it", async () => {
  const socket = await live();
  await vi.advanceTimersByTimeAsync(240_000);
  socket.say({ response: { action: "status", statusCode: 200 } });
  await vi.advanceTimersByTimeAsync(20_000);
  expect(links.at(-1)).toBe("live");
});

test("whoever is not let in tries again with another ticket", async () => {
  stream.start();
  const socket = await newest();
  socket.accept();
  socket.say({ response: { action: "login", statusCode: 401 } });
  await vi.advanceTimersByTimeAsync(1_000);
  expect(FakeSocket.opened).toHaveLength(2);
});

test("a network that is back is used at once", async () => {
  ticket = () => Promise.reject(new Error("away"));
  stream.start();
  await vi.advanceTimersByTimeAsync(200);
  ticket = () => Promise.resolve("back");
  window.dispatchEvent(new Event("online"));
  await vi.advanceTimersByTimeAsync(0);
  expect(FakeSocket.opened).toHaveLength(1);
});

test("who is signed out is told so, and asked no more", async () => {
  ticket = () => Promise.reject(new SignedOut());
  stream.start();
  await vi.advanceTimersByTimeAsync(600_000);
  expect(signedOut).toBe(1);
  expect(FakeSocket.opened).toHaveLength(0);
});

test("after its end nothing is opened, asked or told", async () => {
  const socket = await live();
  stream.stop();
  socket.say({ event: eventOf("9") });
  socket.break();
  await vi.advanceTimersByTimeAsync(600_000);
  expect(told).toEqual([]);
  expect(FakeSocket.opened).toHaveLength(1);
});
