import type { components } from "./schema";
import type { Api } from "./client";
import type { Settings } from "./settings";

export type HomeEvent = components["schemas"]["Push"] & { readonly id: string };
export type Link = "connecting" | "live" | "lost";

const PING_MS = 240_000;
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
  private attempt = 0;
  private lastId: string | undefined;
  private readonly seen = new Set<string>();
  private stopped = false;

  constructor(
    private readonly settings: Settings,
    private readonly api: Api,
    private readonly onEvent: (event: HomeEvent) => void,
    private readonly onLink: (link: Link) => void,
    private readonly onGap: () => void,
  ) {}

  start(): void {
    void this.open();
  }

  stop(): void {
    this.stopped = true;
    window.clearTimeout(this.timer);
    window.clearInterval(this.ping);
    this.socket?.close();
  }

  private async open(): Promise<void> {
    this.onLink("connecting");
    let ticket: string;
    try {
      const { data } = await this.api.POST("/tokens");
      if (data === undefined) throw new Error("no ticket");
      ticket = data.token;
    } catch {
      this.again();
      return;
    }
    if (this.stopped) return;
    const address = new URL(this.settings.socket, location.href);
    if (address.protocol.startsWith("http")) address.protocol = address.protocol.replace("http", "ws");
    const socket = new WebSocket(address, "manager");
    this.socket = socket;
    socket.onopen = () => {
      // The ticket travels in a message: an address ends in logs.
      socket.send(JSON.stringify({ action: "login", payload: { tokenId: ticket, after: this.lastId } }));
      this.ping = window.setInterval(() => {
        socket.send(JSON.stringify({ action: "status", payload: {} }));
      }, PING_MS);
    };
    socket.onmessage = (message: MessageEvent<unknown>) => {
      if (typeof message.data === "string") this.take(JSON.parse(message.data) as Answer);
    };
    socket.onclose = () => {
      window.clearInterval(this.ping);
      this.again();
    };
  }

  private take(answer: Answer): void {
    if (answer.event !== undefined) this.tell(answer.event);
    if (answer.response?.action !== "login") return;
    if (answer.response.statusCode !== 200) {
      this.socket?.close();
      return;
    }
    this.attempt = 0;
    this.onLink("live");
    for (const event of answer.response.body?.events ?? []) this.tell(event);
    if (answer.response.body?.more === true) this.onGap();
  }

  private tell(event: HomeEvent): void {
    if (this.seen.has(event.id)) return;
    this.seen.add(event.id);
    if (this.seen.size > SEEN_MAX) {
      const [oldest] = this.seen;
      if (oldest !== undefined) this.seen.delete(oldest);
    }
    if (this.lastId === undefined || event.id > this.lastId) this.lastId = event.id;
    this.onEvent(event);
  }

  private again(): void {
    if (this.stopped) return;
    this.onLink("lost");
    const base = BACK_OFF_MS[Math.min(this.attempt, BACK_OFF_MS.length - 1)] ?? 30_000;
    this.attempt += 1;
    this.timer = window.setTimeout(() => void this.open(), base * (0.5 + Math.random()));
  }
}
