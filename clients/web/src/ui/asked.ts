// What the server answers to a question, for a component that shows it.

import { useEffect, useState } from "react";

import { call } from "../server/client";
import type { ErrorBody } from "../server/types";

interface Asked<Answer> {
  answer?: Answer;
  error?: ErrorBody;
}

/** Asks when it is shown and whenever the question or `version` changes; asks nothing while `event` is null. */
export function useAsked<Answer>(event: string | null, data: object, version = 0): Asked<Answer> {
  const question = event ? JSON.stringify([event, data]) : "";
  const [known, setKnown] = useState<{ question: string } & Asked<Answer>>({ question: "" });
  useEffect(() => {
    let wanted = true;
    if (event) {
      call<Answer>(event, data).then(
        (answer) => wanted && setKnown({ question, answer }),
        (error) => wanted && setKnown({ question, error }),
      );
    }
    return () => void (wanted = false);
  }, [question, version]);
  return known.question === question ? known : {};
}
