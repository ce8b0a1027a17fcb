// The time, for what counts seconds on the page.

import { useEffect, useState } from "react";

/** Milliseconds since 1970, told anew every so often. */
export function useNow(every = 1000): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), every);
    return () => clearInterval(timer);
  }, [every]);
  return now;
}
