// The content of results that are texts.

import { useEffect, useState } from "react";

const LONGEST = 200_000; // characters that a page shows at once

interface Read {
  text?: string;
  problem?: string;
}

/** The beginning of the text at an address; nothing while `url` is null or until it is there. */
export function useText(url: string | null, longest = LONGEST): Read {
  const [read, setRead] = useState<Read>({});
  useEffect(() => {
    if (!url) return setRead({});
    const stop = new AbortController();
    fetch(url, { signal: stop.signal })
      .then(async (answer) => {
        if (!answer.ok) throw answer.status;
        const text = await answer.text();
        setRead({ text: text.length > longest ? `${text.slice(0, longest)} …` : text });
      })
      .catch(() => stop.signal.aborted || setRead({ problem: "It cannot be read just now." }));
    return () => stop.abort();
  }, [url, longest]);
  return read;
}
