const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

// The words are English; whether a day has two halves is the reader's own custom.
const { hourCycle = "h23" } = new Intl.DateTimeFormat(undefined, { hour: "numeric" }).resolvedOptions();
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });
const clock = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hourCycle });
const exact = new Intl.DateTimeFormat("en", {
  year: "numeric",
  month: "short",
  day: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle,
});
const day = new Intl.DateTimeFormat("en", { weekday: "long", day: "numeric", month: "long" });
const dayOfOtherYear = new Intl.DateTimeFormat("en", { day: "numeric", month: "long", year: "numeric" });

/** "3 min. ago" within the last day, the exact time before that. */
export function timeAgo(ms: number, now = Date.now()): string {
  const age = now - ms;
  if (age < MINUTE) return "just now";
  if (age < HOUR) return relative.format(-Math.floor(age / MINUTE), "minute");
  if (age < DAY) return relative.format(-Math.floor(age / HOUR), "hour");
  return exact.format(ms);
}

export function exactTime(ms: number): string {
  return exact.format(ms);
}

export function clockTime(ms: number): string {
  return clock.format(ms);
}

/** The day a moment belongs to, as a heading. */
export function dayOf(ms: number, now = Date.now()): string {
  const midnight = new Date(now);
  midnight.setHours(0, 0, 0, 0);
  if (ms >= midnight.getTime()) return "Today";
  // Not 24 hours before: a day in spring has 23 of them, one in autumn 25.
  midnight.setDate(midnight.getDate() - 1);
  if (ms >= midnight.getTime()) return "Yesterday";
  return new Date(ms).getFullYear() === new Date(now).getFullYear() ? day.format(ms) : dayOfOtherYear.format(ms);
}
