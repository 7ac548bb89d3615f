import { SignedOut } from "../auth/session";
import type { components } from "./schema";

export type HomeEvent = components["schemas"]["Push"] & { readonly id: string };
export type Link = "connecting" | "live" | "lost";

/** Who is told what the stream hears. */
export interface Listener {
  readonly onEvent: (event: HomeEvent) => void;
  readonly onLink: (link: Link) => void;
  /** More was missed than the home has kept: everything is to be asked for anew. */
  readonly onGap: () => void;
  readonly onSignedOut: () => void;
}

const PING_MS = 240_000;
const ANSWER_MS = 10_000;
const BACK_OFF_MS = [500, 1_000, 2_000, 5_000, 10_000, 20_000, 30_000];
const SEEN_MAX = 500;

interface Answer {
  readonly event?: HomeEvent;
  readonly response?: {
    readonly action: string;
    readonly statusCode: number;
    readonly body?: { readonly events?: readonly HomeEvent[]; readonly more?: boolean };
  };
}

/**
 * What happens at home, as it happens: one socket, opened again whenever it is lost, and after that everything that
 * was missed, by the id of the last event. Each event is told once.
 */
export class EventStream {
  private socket: WebSocket | undefined;
  private timer: number | undefined;
  private ping: number | undefined;
  private overdue: number | undefined;
  private attempt = 0;
  private lastId: string | undefined;
  private readonly seen = new Set<string>();
  private stopped = false;

  /** `ticket` fetches what opens the socket `address` once. */
  constructor(
    private readonly address: string,
    private readonly ticket: () => Promise<string>,
    private readonly listener: Listener,
  ) {}

  start(): void {
    this.listener.onLink("connecting");
    window.addEventListener("online", this.look);
    document.addEventListener("visibilitychange", this.look);
    void this.open();
  }

  stop(): void {
    this.stopped = true;
    window.removeEventListener("online", this.look);
    document.removeEventListener("visibilitychange", this.look);
    window.clearTimeout(this.timer);
    this.leave();
  }

  private async open(): Promise<void> {
    this.timer = undefined;
    let ticket: string;
    try {
      ticket = await this.ticket();
    } catch (error) {
      if (error instanceof SignedOut) this.listener.onSignedOut();
      else this.again();
      return;
    }
    if (this.stopped) return;
    const address = new URL(this.address, location.href);
    if (address.protocol.startsWith("http")) address.protocol = address.protocol.replace("http", "ws");
    const socket = new WebSocket(address, "manager");
    this.socket = socket;
    this.expectAnswer();
    socket.onopen = () => {
      // The ticket travels in a message: an address ends in logs.
      socket.send(JSON.stringify({ action: "login", payload: { tokenId: ticket, after: this.lastId } }));
      this.ping = window.setInterval(this.ask, PING_MS);
    };
    socket.onmessage = (message: MessageEvent<unknown>) => {
      window.clearTimeout(this.overdue);
      if (typeof message.data === "string") this.take(JSON.parse(message.data) as Answer);
    };
    socket.onclose = () => {
      this.again();
    };
  }

  /** After a sleep or another network the socket may be dead without having been told so. */
  private readonly look = (): void => {
    if (document.visibilityState === "hidden") return;
    if (this.timer !== undefined) {
      window.clearTimeout(this.timer);
      void this.open();
    } else if (this.socket?.readyState === WebSocket.OPEN) {
      this.ask();
    }
  };

  private readonly ask = (): void => {
    this.socket?.send(JSON.stringify({ action: "status", payload: {} }));
    this.expectAnswer();
  };

  private expectAnswer(): void {
    window.clearTimeout(this.overdue);
    this.overdue = window.setTimeout(() => {
      this.again();
    }, ANSWER_MS);
  }

  private take(answer: Answer): void {
    if (answer.event !== undefined) this.tell(answer.event);
    if (answer.response?.action !== "login") return;
    if (answer.response.statusCode !== 200) {
      this.again();
      return;
    }
    this.attempt = 0;
    this.listener.onLink("live");
    for (const event of answer.response.body?.events ?? []) this.tell(event);
    if (answer.response.body?.more === true) this.listener.onGap();
  }

  private tell(event: HomeEvent): void {
    if (this.seen.has(event.id)) return;
    this.seen.add(event.id);
    if (this.seen.size > SEEN_MAX) {
      const [oldest] = this.seen;
      if (oldest !== undefined) this.seen.delete(oldest);
    }
    if (this.lastId === undefined || event.id > this.lastId) this.lastId = event.id;
    this.listener.onEvent(event);
  }

  private leave(): void {
    window.clearInterval(this.ping);
    window.clearTimeout(this.overdue);
    const socket = this.socket;
    this.socket = undefined;
    if (socket === undefined) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  private again(): void {
    this.leave();
    if (this.stopped) return;
    this.listener.onLink("lost");
    const base = BACK_OFF_MS[Math.min(this.attempt, BACK_OFF_MS.length - 1)] ?? 30_000;
    this.attempt += 1;
    this.timer = window.setTimeout(() => void this.open(), base * (0.5 + Math.random()));
  }
}
