import { useEffect, useState } from "react";

const TICK_MS = 20_000;

/** The time, anew every 20 seconds: what says "3 min. ago" has to go on by itself. */
export function useNow(): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = window.setInterval(() => {
      setNow(Date.now());
    }, TICK_MS);
    return () => {
      window.clearInterval(timer);
    };
  }, []);
  return now;
}
