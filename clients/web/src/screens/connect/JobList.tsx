// The jobs there are, to be searched and put on the canvas.

import { FileUp, Type } from "lucide-react";
import { useId, useMemo, useRef, useState } from "react";

import { fits } from "../../app/intents";
import { useServer } from "../../server/store";
import type { JobType } from "../../server/types";
import { firstToFocus } from "../../ui/Dialog";
import { jobTitle } from "../../ui/format";
import { hasWords, walk } from "../../ui/search";
import css from "./JobList.module.css";
import { type Catalogue, outputOf, portOf } from "./graph";
import { useEditor } from "./editor";
import { Letter } from "./Ports";

/** What can be put on the canvas: a job, a text, or a file of a kind. */
export type Choice = { job: string } | { text: true } | { file: string };
/** What it has to fit to: a node's results, or an input of a node. */
export type Fitting = { from: string } | { to: string; input: string };

interface Entry {
  choice: Choice;
  name: string;
  help: string;
  group: string;
  takes: string[];
  gives: string;
}

export const DRAGGED = "application/x-stable-core-node";

interface Props {
  fitting?: Fitting;
  onChoose: (choice: Choice) => void;
  autoFocus?: boolean;
}

export function JobList({ fitting, onChoose, autoFocus }: Props) {
  const list = useRef<HTMLDivElement>(null);
  const id = useId();
  const [search, setSearch] = useState("");
  const entries = useEntries(fitting);
  const found = entries.filter(({ name, help, group }) => hasWords(`${name} ${group} ${help}`, search));
  const groups = [...new Set(found.map(({ group }) => group))];
  return (
    <div className={css.jobs} ref={list} onKeyDown={(event) => walk(event, list.current!)}>
      <input
        type="search" value={search} placeholder="Search jobs" aria-label="Search jobs" ref={autoFocus ? firstToFocus : undefined} aria-controls={id}
        onChange={({ target }) => setSearch(target.value)}
        onKeyDown={({ key }) => key === "Enter" && found[0] && onChoose(found[0].choice)}
      />
      <div className={css.list} id={id}>
        {!found.length && <p className={css.none}>{entries.length ? "Nothing has such a name." : "No job fits here."}</p>}
        {groups.map((group) => (
          <section key={group} aria-label={group}>
            <h3>{group}</h3>
            {found.filter((entry) => entry.group === group).map((entry) => (
              <button
                key={entry.name} type="button" title={entry.help} draggable
                onClick={() => onChoose(entry.choice)}
                onDragStart={({ dataTransfer }) => dataTransfer.setData(DRAGGED, JSON.stringify(entry.choice))}
              >
                <span className={css.name}>{icon(entry.choice)}{entry.name}</span>
                <span className={css.kinds} aria-hidden="true">
                  {entry.takes.map((kind, at) => <Letter key={at} kind={kind} />)}→<Letter kind={entry.gives} />
                </span>
                <small>{entry.help}</small>
              </button>
            ))}
          </section>
        ))}
      </div>
    </div>
  );
}

const icon = (choice: Choice) =>
  "file" in choice ? <FileUp size={14} aria-hidden="true" /> : "text" in choice ? <Type size={14} aria-hidden="true" /> : null;

function useEntries(fitting: Fitting | undefined): Entry[] {
  const catalogue = useServer((server) => server.catalogue);
  return useMemo(() => {
    const jobs = Object.values(catalogue).filter(({ light }) => !light);
    const all = [...given(jobs), ...jobs.map(entryOf)];
    return fitting ? all.filter((entry) => isFitting(entry, fitting, catalogue)) : all;
  }, [catalogue, fitting]);
}

/** Texts and files, where a job takes some. */
function given(jobs: JobType[]): Entry[] {
  const kinds = new Set(jobs.flatMap(({ inputs }) => Object.values(inputs).map(({ kind }) => kind)));
  const group = "Your own";
  const files = [...kinds].filter((kind) => kind !== "mask").map((kind) => ({
    choice: { file: kind }, name: kind === "image" ? "Picture" : `${kind[0].toUpperCase()}${kind.slice(1)} file`,
    help: "An upload or an earlier result", group, takes: [], gives: kind,
  }));
  const text = { choice: { text: true as const }, name: "Text", help: "Written here", group, takes: [], gives: "text" };
  return kinds.has("text") ? [...files, text] : files;
}

const entryOf = ({ full, help, title, inputs, output }: JobType): Entry => ({
  choice: { job: full }, name: jobTitle(full), help: help.split("\n")[0], group: title, gives: output.kind,
  takes: Object.values(inputs).filter(({ optional }) => !optional).map(({ kind }) => kind),
});

function isFitting({ choice, gives }: Entry, fitting: Fitting, catalogue: Catalogue): boolean {
  const { nodes } = useEditor.getState();
  if ("to" in fitting) {
    const port = portOf(nodes.find(({ id }) => id === fitting.to), fitting.input, catalogue);
    return port !== undefined && fits(gives, port.kind);
  }
  const node = nodes.find(({ id }) => id === fitting.from);
  return "job" in choice && node !== undefined && firstInput(catalogue, choice.job, outputOf(node, catalogue)?.kind) !== undefined;
}

/** The input of a job that something of a kind goes into: a needed one before an optional one. */
export function firstInput(catalogue: Catalogue, job: string, kind: string | undefined): string | undefined {
  const fitting = Object.entries(catalogue[job]?.inputs ?? {}).filter(([, port]) => kind && fits(kind, port.kind));
  return (fitting.find(([, { optional, kind: wanted }]) => !optional && wanted === kind) ?? fitting.find(([, { optional }]) => !optional) ?? fitting[0])?.[0];
}
