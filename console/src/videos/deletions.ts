import type { Video } from "../api/client";

export const UNDO_MS = 10_000;
const GONE_MAX = 1000;

export interface DeletionsNow {
  /** What is deleted in a moment, and can still be kept. */
  readonly waiting: readonly Video[];
  /** What is not to be shown, by `clipKey`. */
  readonly hidden: ReadonlySet<string>;
  /** Why the last one that went wrong did. */
  readonly error: string | undefined;
}

/** Deletes a clip at the home; while the page is left, in a request that survives it. */
export type SendDeletion = (clip: Video, how: { readonly leaving: boolean }) => Promise<void>;

export function clipKey(clip: Pick<Video, "thingName" | "video">): string {
  return `${clip.thingName}/${clip.video}`;
}

/** Deletions that can be taken back for ten seconds. The home is told after that, or when the page is left. */
export class Deletions {
  private readonly waiting = new Map<string, { readonly clip: Video; readonly timer: number }>();
  private readonly gone = new Set<string>();
  private readonly listeners = new Set<() => void>();
  private error: string | undefined;
  private snapshot: DeletionsNow = { waiting: [], hidden: new Set(), error: undefined };

  constructor(private readonly send: SendDeletion) {}

  readonly now = (): DeletionsNow => this.snapshot;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /** Hide a clip at once, and delete it in ten seconds. */
  ask(clip: Video): void {
    const key = clipKey(clip);
    if (this.waiting.has(key)) return;
    const timer = window.setTimeout(() => {
      this.finish(key, false);
    }, UNDO_MS);
    this.waiting.set(key, { clip, timer });
    this.changed();
  }

  /** Keep it after all. */
  undo(clip: Video): void {
    const key = clipKey(clip);
    window.clearTimeout(this.waiting.get(key)?.timer);
    this.waiting.delete(key);
    this.changed();
  }

  /** The page is left: what waits is deleted now. */
  readonly leave = (): void => {
    for (const key of [...this.waiting.keys()]) this.finish(key, true);
  };

  forgetError(): void {
    this.error = undefined;
    this.changed();
  }

  private finish(key: string, leaving: boolean): void {
    const found = this.waiting.get(key);
    if (found === undefined) return;
    window.clearTimeout(found.timer);
    this.waiting.delete(key);
    this.gone.add(key);
    if (this.gone.size > GONE_MAX) {
      const [oldest] = this.gone;
      if (oldest !== undefined) this.gone.delete(oldest);
    }
    this.changed();
    this.send(found.clip, { leaving }).catch((error: unknown) => {
      this.gone.delete(key);
      this.error = error instanceof Error ? error.message : String(error);
      this.changed();
    });
  }

  private changed(): void {
    this.snapshot = {
      waiting: [...this.waiting.values()].map(({ clip }) => clip),
      hidden: new Set([...this.waiting.keys(), ...this.gone]),
      error: this.error,
    };
    for (const listener of this.listeners) listener();
  }
}
