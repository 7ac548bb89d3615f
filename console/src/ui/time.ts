const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });
const clock = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit" });
const exact = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium" });
const day = new Intl.DateTimeFormat("en", { weekday: "long", day: "numeric", month: "long" });

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
  const midnight = new Date(now).setHours(0, 0, 0, 0);
  if (ms >= midnight) return "Today";
  if (ms >= midnight - DAY) return "Yesterday";
  return day.format(ms);
}
