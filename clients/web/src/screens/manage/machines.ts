// The devices that jobs run on and the machines they are in, asked for anew while somebody looks, and in words.

import { useEffect, useState } from "react";

import { complain } from "../../app/notices";
import { call, onEvent } from "../../server/client";
import { useServer } from "../../server/store";
import type { Devices, Machine } from "../../server/types";

const LOOK_MS = 3000; // memory comes and goes without an event

export function useDevices(): Devices | undefined {
  const online = useServer(({ connection }) => connection.state === "online");
  const [told, setTold] = useState<Devices>();
  useEffect(() => {
    if (!online) return;
    const read = (failed: (error: any) => void = () => undefined) => void call<Devices>("devices").then(setTold, failed);
    read(complain);
    const looking = setInterval(read, LOOK_MS);
    const deaf = onEvent(({ type }) => void (type === "devices" && read()));
    return () => (clearInterval(looking), deaf());
  }, [online]);
  return told;
}

const WHEN = { prefer: "first", busy: "when all devices here are busy", only: "only" }; // as core/remote/words.py

/** Which jobs run on a machine, as a sentence. */
export function ruleOf({ rule }: Machine): string {
  if (!rule) return "";
  const { jobs, priorities, when } = rule;
  const names = jobs.length ? `jobs ${jobs.join(", ")}` : priorities.length ? "jobs" : "all jobs";
  const words = [priorities.join(" and "), names, "run there", WHEN[when]].filter(Boolean).join(" ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** What a rented machine costs, and has cost since it was made. */
export function costOf({ rented }: Machine): string {
  if (!rented) return "";
  const { provider, price_per_hour, spend_limit, spent, ended } = rented;
  const told = `${dollars(price_per_hour)} an hour, ${dollars(spent)} of at most ${dollars(spend_limit)} so far, at ${provider}`;
  return ended ? `${told}; it ${ended}` : told;
}

const dollars = (amount: number): string => `$${amount.toFixed(2)}`;
