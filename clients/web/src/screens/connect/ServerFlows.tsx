// The flows that are kept on the server, where a plugin keeps some: each is a job there, with a form of its parameters.

import { CloudUpload, Play, Trash2 } from "lucide-react";
import { useEffect, useState } from "react";

import { openForm } from "../../app/intents";
import { complain, say } from "../../app/notices";
import { call } from "../../server/client";
import { useServer } from "../../server/store";
import type { JobType, Values } from "../../server/types";
import { fileOf, open, useEditor } from "./editor";
import { readFlow } from "./file";
import css from "./Flows.module.css";

const KEEPING = ["flows", "flow", "save_flow", "delete_flow"]; // light jobs: list, read, write, delete

/** The plugin that has all of these, if any. */
const keeperOf = (catalogue: Record<string, JobType>): string | undefined =>
  Object.values(catalogue).find(({ name, plugin, light }) => light && name === "save_flow" && KEEPING.every((each) => catalogue[`${plugin}.${each}`]?.light))?.plugin;

const ask = async <Answer,>(job: string, params: Values = {}): Promise<Answer> =>
  (await call<{ outputs: Answer[] }>("call", { job, params })).outputs[0];

export function ServerFlows({ onClose }: { onClose: () => void }) {
  const catalogue = useServer((server) => server.catalogue);
  const keeper = keeperOf(catalogue);
  const [names, setNames] = useState<string[] | null>(null);
  const read = () => void ask<string[]>(`${keeper}.flows`).then((found) => setNames(found.toSorted()), complain);
  useEffect(() => void (keeper && read()), [keeper]);
  if (!keeper) return null;
  const save = async () => {
    const state = useEditor.getState();
    const name = jobName(state.name);
    if (names?.includes(name) && !confirm(`Replace the flow “${name}” on the server?`)) return;
    await ask(`${keeper}.save_flow`, { name, flow: fileOf(state) });
    say(`Saved on the server as “${name}”: from now on it is a job, too.`);
    read();
    await call("plugins"); // the server looks, and tells of the new job
  };
  const load = async (name: string) => {
    const { flow } = await ask<{ flow: { version?: number } }>(`${keeper}.flow`, { name });
    try {
      const graph = readFlow(JSON.stringify(flow), catalogue);
      open({ ...graph, name: graph.name || name });
      onClose();
    } catch (error) {
      onClose(); // what is said of it would be behind
      throw flow.version === 2 ? new Error(`“${name}” has parameters, lists or conditions, which the canvas cannot show. Run fills in its form; docs/flows.md tells how to edit it.`) : error;
    }
  };
  const remove = async (name: string) => {
    if (!confirm(`Delete the flow “${name}” from the server, for everybody?`)) return;
    await ask(`${keeper}.delete_flow`, { name });
    say(`Deleted “${name}”.`);
    read();
    await call("plugins");
  };
  return (
    <section aria-label="Flows on the server">
      <header className={css.head}>
        <h3>On the server, for everybody</h3>
        <button type="button" onClick={() => void save().catch(complain)}><CloudUpload size={16} aria-hidden="true" /> Save this flow there</button>
      </header>
      <ul className={css.list}>
        {names?.map((name) => (
          <li key={name}>
            <span className={css.serverName} title={catalogue[`${keeper}.${name}`]?.help}>{name}<small>{catalogue[`${keeper}.${name}`]?.help}</small></span>
            <button type="button" disabled={!catalogue[`${keeper}.${name}`]} onClick={() => (onClose(), openForm(`${keeper}.${name}`))} aria-label={`Run ${name}`} title="Its form, to run it">
              <Play size={14} aria-hidden="true" /> Run
            </button>
            <button type="button" onClick={() => void load(name).catch(complain)} aria-label={`Open ${name} of the server`}>Open</button>
            <button type="button" className="quiet" onClick={() => void remove(name).catch(complain)} aria-label={`Delete ${name} from the server`} title="Delete">
              <Trash2 size={16} aria-hidden="true" />
            </button>
          </li>
        ))}
        {names?.length === 0 && <li className={css.help}>None is saved there yet.</li>}
      </ul>
    </section>
  );
}

/** A name that a job may have. */
function jobName(name: string): string {
  const plain = name.trim().normalize("NFKD").replace(/\p{M}/gu, "").replace(/\W+/g, "_").replace(/^_+|_+$/g, "").slice(0, 64);
  return /^[A-Za-z]/.test(plain) ? plain : `flow_${plain}`.replace(/_$/, "");
}
