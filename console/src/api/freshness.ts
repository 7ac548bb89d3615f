import type { QueryClient, QueryKey } from "@tanstack/react-query";

const GATHER_MS = 150;

/**
 * Has what is old asked for anew, once for all events of a moment, and never before the last answer is there: many
 * events in a row would otherwise break off each request for the next one, and nothing would ever be shown.
 */
export class Freshness {
  private readonly old = new Map<string, QueryKey>();
  private running = false;

  constructor(private readonly queries: Pick<QueryClient, "invalidateQueries">) {}

  /** Everything below this key is old. */
  mark(key: QueryKey): void {
    this.old.set(JSON.stringify(key), key);
    if (!this.running) void this.run();
  }

  private async run(): Promise<void> {
    this.running = true;
    while (this.old.size > 0) {
      await new Promise((resolve) => window.setTimeout(resolve, GATHER_MS));
      const keys = [...this.old.values()];
      this.old.clear();
      await Promise.allSettled(keys.map((queryKey) => this.queries.invalidateQueries({ queryKey })));
    }
    this.running = false;
  }
}
