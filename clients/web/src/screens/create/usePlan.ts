// What Run would make: how many, how long, which seeds; asked when nobody has typed for a moment.

import { useEffect, useState } from "react";

import type { Draft } from "../../app/intents";
import { toSend } from "../../forms/schema";
import { call } from "../../server/client";
import { atLeisure } from "../../server/leisure";
import { useServer } from "../../server/store";
import type { JobType, Plan } from "../../server/types";

const PAUSE_MS = 700;

export function usePlan(job: JobType, draft: Draft): Plan | null {
  const online = useServer(({ connection }) => connection.state === "online");
  const [plan, setPlan] = useState<Plan | null>(null);
  const request = online && !job.light && plannable(job, draft) ? JSON.stringify(asked(job, draft)) : "";
  useEffect(() => {
    setPlan(null);
    if (!request) return;
    let wanted = true;
    const ask = async () => {
      if (job.plans || job.program) await atLeisure(job.plugin); // others are planned without their plugin
      if (!wanted) return;
      const { plan: made } = await call<{ plan: Plan }>("plan", JSON.parse(request));
      if (wanted) setPlan(made);
    };
    const timer = setTimeout(() => void ask().catch(() => undefined), PAUSE_MS);
    return () => {
      wanted = false; // what the server refuses is said when it is submitted
      clearTimeout(timer);
    };
  }, [request]);
  return plan;
}

/** A text that is typed would have to be uploaded first: too much for a guess. */
const plannable = (job: JobType, { inputs }: Draft): boolean =>
  Object.entries(job.inputs).every(([name, port]) => {
    const given = inputs[name] ?? [];
    return given.every((item) => "artifact" in item) && (given.length > 0 || port.optional);
  });

function asked(job: JobType, { params, inputs }: Draft) {
  const ids = Object.entries(inputs)
    .filter(([name, given]) => name in job.inputs && given.length)
    .map(([name, given]) => [name, given.flatMap((item) => ("artifact" in item ? [item.artifact.id] : []))]);
  return { job: job.full, params: toSend(job.params, params), inputs: Object.fromEntries(ids) };
}
