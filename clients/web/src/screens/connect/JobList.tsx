// The jobs there are, to be searched and put on the canvas.

import { FileUp, Type } from "lucide-react";
import { useId, useMemo, useRef, useState } from "react";

import { type Way, turns } from "../../app/fitting";
import { useServer } from "../../server/store";
import type { JobType } from "../../server/types";
import { firstToFocus } from "../../ui/Dialog";
import { jobTitle } from "../../ui/format";
import { hasWords, namedFirst, walk } from "../../ui/search";
import css from "./JobList.module.css";
import { type Catalogue, type Output, outputOf, portOf, typeOf, wayOf } from "./graph";
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
  const alike = entries.filter(({ name, help, group }) => hasWords(`${name} ${group} ${help}`, search));
  const found = namedFirst(alike, ({ name }) => name, search);
  const groups = [...new Set(found.map(({ group }) => group))];
  return (
    <div className={css.jobs} ref={list} onKeyDown={(event) => walk(event, list.current!)}>
      <input
        type="search" value={search} placeholder="Search jobs" aria-label="Search jobs" ref={autoFocus ? firstToFocus : undefined} aria-controls={id}
        onChange={({ target }) => setSearch(target.value)}
        onKeyDown={(event) => {
          if (event.key !== "Enter" || !found[0]) return;
          event.preventDefault(); // or the button that gets the focus back is pressed, too
          onChoose(found[0].choice);
        }}
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
    if (!fitting) return all;
    const entries = all.map((entry) => [entry, wayFor(entry, fitting, catalogue)] as const);
    const straight = entries.flatMap(([entry, way]) => (way && !way.problem && !way.through ? entry : []));
    const converted = entries.flatMap(([entry, way]) => (way?.through ? { ...entry, group: "Converted first", help: `${turns(way.through)} by ${way.through.title}. ${entry.help}` } : []));
    return [...straight, ...converted];
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

/** How an entry gets into what it has to fit to; undefined if there is nothing it could go into. */
function wayFor({ choice, gives }: Entry, fitting: Fitting, catalogue: Catalogue): Way | undefined {
  const { nodes } = useEditor.getState();
  if ("to" in fitting) {
    const node = nodes.find(({ id }) => id === fitting.to);
    const port = portOf(node, fitting.input, catalogue);
    const type = node?.type === "job" ? typeOf(catalogue, node.data.job) : undefined;
    return port && type && wayOf(catalogue, { kind: gives, list: false, written: "text" in choice }, type, port);
  }
  const node = nodes.find(({ id }) => id === fitting.from);
  const output = node && outputOf(node, catalogue);
  return "job" in choice && output ? firstInput(catalogue, choice.job, output)?.way : undefined;
}

/** The input of a job that an output goes into: as it is before through a converter, a needed one before an optional one. */
export function firstInput(catalogue: Catalogue, job: string, output: Output): { name: string; way: Way } | undefined {
  const found = Object.entries(catalogue[job]?.inputs ?? {}).flatMap(([name, port]) => {
    const way = wayOf(catalogue, output, catalogue[job], port);
    const rank = (way.through ? 4 : 0) + (port.optional ? 2 : 0) + (port.kind === output.kind ? 0 : 1);
    return way.problem ? [] : [{ name, way, rank }];
  });
  return found.sort((a, b) => a.rank - b.rank)[0];
}
