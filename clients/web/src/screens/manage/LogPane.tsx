// Manage, Log: what jobs and the server say, live; by job, filtered, copied, saved.

import { ArrowDownToLine, Download } from "lucide-react";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import { navigate } from "wouter/use-hash-location";

import { complain } from "../../app/notices";
import { readLines, useServer } from "../../server/store";
import type { LogLine } from "../../server/types";
import { CopyButton } from "../../ui/CopyButton";
import { Empty } from "../../ui/Empty";
import { saveText } from "../../ui/files";
import { clock, moment } from "../../ui/format";
import { hasWords } from "../../ui/search";
import css from "./LogPane.module.css";

const SERVER = "server"; // in place of a job: the server's own lines
const NEAR_END_PX = 24;

/** `id`: a job, or "server" for what the server itself says; nothing for all. */
export function LogPane({ id }: { id?: string }) {
  const all = useServer((server) => server.lines);
  const [words, setWords] = useState("");
  useStored(id);
  const lines = useMemo(() => all.filter((line) => isOf(line, id) && contains(line, words)), [all, id, words]);
  const whole = () => lines.map(asText).join("\n");
  return (
    <div className={css.pane}>
      <div className={css.bar}>
        <JobChoice chosen={id} lines={all} />
        <input type="search" placeholder="Filter" aria-label="Filter the lines" value={words} onChange={(event) => setWords(event.target.value)} />
        <CopyButton text={whole} what="these lines" />
        <button type="button" className="quiet" onClick={() => saveText(`${whole()}\n`, "stable-core.log", "text/plain")} aria-label="Save these lines as a file" title="Save these lines as a file">
          <Download size={16} aria-hidden="true" />
        </button>
      </div>
      {lines.length ? <Lines lines={lines} withJob={!id} /> : <Nothing filtered={words !== ""} />}
    </div>
  );
}

/** Reads what was said before this page came, or while it was cut off; also what the server says of plugins that change. */
function useStored(id?: string): void {
  const online = useServer(({ connection }) => connection.state === "online");
  const plugins = useServer((server) => server.plugins);
  useEffect(() => {
    if (online) readLines(id === SERVER ? undefined : id).catch(complain);
  }, [online, plugins, id]);
}

function Nothing({ filtered }: { filtered: boolean }) {
  if (filtered) return <Empty title="No line has these words" />;
  return <Empty title="Nothing was said yet">What jobs and plugins say appears here as it happens; errors with all details.</Empty>;
}

function JobChoice({ chosen, lines }: { chosen?: string; lines: LogLine[] }) {
  const jobs = useServer((server) => server.jobs);
  const names = new Map<string, string>();
  for (const { job, name } of lines) if (job) names.set(job, name ?? jobs[job]?.name ?? "job");
  if (chosen && chosen !== SERVER && !names.has(chosen)) names.set(chosen, jobs[chosen]?.name ?? "job");
  const choose = (job: string) => navigate(job ? `/manage/log/${job}` : "/manage/log");
  return (
    <select aria-label="Whose lines" value={chosen ?? ""} onChange={(event) => choose(event.target.value)}>
      <option value="">All</option>
      <option value={SERVER}>The server itself</option>
      {[...names].reverse().map(([job, name]) => <option key={job} value={job}>{name} · {job.slice(-6)}</option>)}
    </select>
  );
}

function Lines({ lines, withJob }: { lines: LogLine[]; withJob: boolean }) {
  const box = useRef<HTMLDivElement>(null);
  const [following, follow] = useState(true);
  const toEnd = () => box.current?.scrollTo({ top: box.current.scrollHeight });
  useLayoutEffect(() => {
    if (following) toEnd();
  }, [lines, following]);
  const look = () => {
    const { scrollTop, scrollHeight, clientHeight } = box.current!;
    follow(scrollHeight - scrollTop - clientHeight < NEAR_END_PX);
  };
  return (
    <div className={css.frame}>
      <div className={css.lines} ref={box} onScroll={look} tabIndex={0} role="log" aria-live="off" aria-label="Lines">
        {lines.map((line, at) => <Line key={`${line.time} ${line.job} ${at}`} line={line} withJob={withJob} />)}
      </div>
      {!following && (
        <button type="button" className={css.end} onClick={() => follow(true)}>
          <ArrowDownToLine size={16} aria-hidden="true" /> Newest
        </button>
      )}
    </div>
  );
}

function Line({ line, withJob }: { line: LogLine; withJob: boolean }) {
  const name = useServer(({ jobs }) => line.name ?? (line.job ? jobs[line.job]?.name ?? "job" : SERVER));
  return (
    <div className={css.line}>
      <time title={moment(line.time)}>{clock(line.time)}</time>
      {withJob && <span className={css.job} data-server={!line.job} title={line.job ? `${name} ${line.job}` : name}>{name}</span>}
      <Text text={line.text.trimEnd()} />
    </div>
  );
}

/** A text of several lines is folded: of a traceback, the last line says what happened. */
function Text({ text }: { text: string }) {
  const parts = text.split("\n");
  if (parts.length === 1) return <span className={css.text}>{text}</span>;
  const isTraceback = text.includes("Traceback (most recent call last)");
  return (
    <details className={css.text} data-traceback={isTraceback}>
      <summary>{isTraceback ? parts.at(-1) : parts[0]} <small>{parts.length} lines</small></summary>
      <pre>{text}</pre>
    </details>
  );
}

const isOf = (line: LogLine, id?: string): boolean => !id || (id === SERVER ? !line.job : line.job === id);

const contains = ({ text, name }: LogLine, words: string): boolean => hasWords(`${text} ${name ?? ""}`, words);

const asText = ({ time, job, name, text }: LogLine): string =>
  `${new Date(time * 1000).toISOString()} ${job ? `${name ?? "job"} ${job}` : SERVER}: ${text.trimEnd()}`;
