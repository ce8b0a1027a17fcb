// How many tokens a text has, asked of the light job that its schema names, a moment after somebody has typed.

import { useEffect, useState } from "react";

import { call } from "../server/client";
import { atLeisure } from "../server/leisure";
import { useServer } from "../server/store";
import type { Values } from "../server/types";
import { useForm } from "./context";
import { fieldsOf } from "./schema";

const PAUSE_MS = 350;

export interface Counted {
  tokens: number;
  limit?: number;
  warnings?: string[];
}

/** `counts` is the name of the light job, of the same plugin; undefined while nothing is known. */
export function useTokens(counts: string | undefined, text: string): Counted | undefined {
  const { job, values } = useForm();
  const counter = useServer(({ catalogue }) => (counts ? catalogue[`${job.plugin}.${counts}`] : undefined));
  const online = useServer(({ connection }) => connection.state === "online");
  const [counted, setCounted] = useState<Counted>();
  const params = counter && text ? JSON.stringify(asked(fieldsOf(counter.params), values, text)) : "";
  useEffect(() => {
    if (!params || !counter || !online) return setCounted(undefined);
    let wanted = true; // until there is a newer text
    const ask = async () => {
      await atLeisure(counter.plugin);
      if (!wanted) return;
      const { outputs } = await call("call", { job: counter.full, params: JSON.parse(params) });
      if (wanted) setCounted(outputs[0] as Counted);
    };
    const timer = setTimeout(() => void ask().catch(() => wanted && setCounted(undefined)), PAUSE_MS);
    return () => {
      wanted = false;
      clearTimeout(timer);
    };
  }, [counter?.full, params, online]);
  return text ? counted : undefined;
}

/** The text where the counter takes it, and what the form says of its other parameters. */
function asked(fields: ReturnType<typeof fieldsOf>, values: Values, text: string): Values {
  const known = Object.keys(fields).filter((name) => values[name] !== undefined);
  const place = Object.keys(fields).find((name) => fields[name].ui.widget === "textarea");
  return { ...Object.fromEntries(known.map((name) => [name, values[name]])), ...(place && { [place]: text }) };
}
