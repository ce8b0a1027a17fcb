// What was made of the picture: jobs that run, results to look at, compare, judge and go on with.

import { ArrowRight, Check, Eye, Maximize2, ThumbsDown, X } from "lucide-react";
import { useEffect, useState } from "react";

import { openResult } from "../../app/intents";
import { cancel } from "../../app/jobs";
import { useKeys } from "../../app/keys";
import { complain } from "../../app/notices";
import { review } from "../../app/results";
import { sentence } from "../../server/client";
import { readOutputs, UNFINISHED, useServer } from "../../server/store";
import type { ArtifactRecord, JobRecord } from "../../server/types";
import { isPicture, thumbnailUrl } from "../../ui/pictures";
import css from "./Draw.module.css";
import { setMade, type Easel, type Made } from "./easel";

interface Props {
  easel: Easel;
  made: Made;
  results: ArtifactRecord[];
  shown: ArtifactRecord | undefined;
  /** Whether a result may take over the mask: it has the picture's size. */
  mayCarry: boolean;
  goOn: (result: ArtifactRecord, withMask: boolean) => void;
  compare: (before: boolean) => void;
}

/** The results of all jobs, in the order of these; asked for where no event told them. */
export function useResults({ jobs }: Made): ArtifactRecord[] {
  const outputs = useServer((server) => server.outputs);
  const records = useServer((server) => server.jobs);
  const unread = jobs.filter((id) => !outputs[id] && records[id] && !UNFINISHED.includes(records[id].state)).join();
  useEffect(() => {
    for (const id of unread.split(",").filter(Boolean)) readOutputs(id).catch(complain);
  }, [unread]);
  return jobs.flatMap((id) => (outputs[id] ?? []).filter(isPicture));
}

export function Strip({ easel, made, results, shown, mayCarry, goOn, compare }: Props) {
  const picture = easel.artifact.id;
  const show = (id: string | null) => setMade(picture, () => ({ shown: id }));
  const at = results.findIndex((each) => each === shown);
  useKeys(
    {
      ",": ["Result before", () => results.length && show(results[Math.max(at - 1, 0)].id)],
      ".": ["Next result", () => results.length && show(results[Math.min(at + 1, results.length - 1)].id)],
      escape: ["Back to the picture", () => show(null)],
    },
    "Draw",
  );
  const jobs = useServer((server) => server.jobs);
  const open = made.jobs.map((id) => jobs[id]).filter((record) => record && record.state !== "done");
  if (!results.length && !open.length) return null;
  return (
    <section className={css.strip} aria-label="Results">
      <ul>
        <li>
          <button type="button" className={css.thumbnail} aria-pressed={!shown} onClick={() => show(null)} aria-label="The picture itself">
            <img src={thumbnailUrl(easel.artifact, 128)} alt="" />
            <small>Picture</small>
          </button>
        </li>
        {results.map((result, number) => (
          <li key={result.id}>
            <button
              type="button" className={css.thumbnail} aria-pressed={result === shown} data-review={result.review}
              onClick={() => show(result.id)} aria-label={`Result ${number + 1}${result.review === "new" ? "" : `, ${result.review}`}`}
            >
              <img src={thumbnailUrl(result, 128)} alt="" />
              <small>{number + 1}</small>
            </button>
          </li>
        ))}
        {open.map((record) => <li key={record.id}><Unfinished record={record} picture={picture} /></li>)}
      </ul>
      {shown && <Actions key={shown.id} result={shown} mayCarry={mayCarry} goOn={goOn} compare={compare} />}
    </section>
  );
}

function Unfinished({ record, picture }: { record: JobRecord; picture: string }) {
  const progress = useServer((server) => server.progress[record.id]);
  const preview = useServer((server) => server.previews[record.id]);
  const isOver = !UNFINISHED.includes(record.state);
  const stop = () => {
    if (isOver) setMade(picture, ({ jobs }) => ({ jobs: jobs.filter((id) => id !== record.id) }));
    else void cancel(record.id);
  };
  const state = record.error && isOver ? sentence(record.error) : record.state;
  return (
    <div className={css.thumbnail} data-state={record.state} title={state}>
      {preview && <img src={preview} alt="" />}
      {isOver
        ? <small className={css.failure}>{state}</small>
        : <progress aria-label={`${record.name} is ${record.state}`} value={progress ? progress.step / Math.max(progress.total, 1) : undefined} />}
      <button type="button" className="quiet" onClick={stop} aria-label={isOver ? "Dismiss" : "Cancel this job"} title={isOver ? "Dismiss" : "Cancel"}>
        <X size={14} aria-hidden="true" />
      </button>
    </div>
  );
}

function Actions({ result, mayCarry, goOn, compare }: { result: ArtifactRecord } & Pick<Props, "mayCarry" | "goOn" | "compare">) {
  const [keep, setKeep] = useState(false);
  const judge = (wanted: "picked" | "rejected") => void review([result.id], result.review === wanted ? "new" : wanted);
  const hold = { onPointerDown: () => compare(true), onPointerUp: () => compare(false), onPointerLeave: () => compare(false), onBlur: () => compare(false) };
  return (
    <div className={css.actions}>
      <button
        type="button" {...hold} title="Hold to see the picture before"
        onKeyDown={({ key }) => [" ", "Enter"].includes(key) && compare(true)} onKeyUp={() => compare(false)}
      >
        <Eye size={16} aria-hidden="true" /> Hold to compare
      </button>
      <button type="button" aria-pressed={result.review === "picked"} onClick={() => judge("picked")} aria-label="Pick" title="Pick"><Check size={16} aria-hidden="true" /></button>
      <button type="button" aria-pressed={result.review === "rejected"} onClick={() => judge("rejected")} aria-label="Reject" title="Reject"><ThumbsDown size={16} aria-hidden="true" /></button>
      <button type="button" onClick={() => openResult(result.id)} aria-label="Open among the results" title="Open among the results"><Maximize2 size={16} aria-hidden="true" /></button>
      {mayCarry && (
        <label>
          <input type="checkbox" checked={keep} onChange={({ target }) => setKeep(target.checked)} /> keep the mask
        </label>
      )}
      <button type="button" className="primary" onClick={() => goOn(result, keep && mayCarry)}>
        Go on with this <ArrowRight size={16} aria-hidden="true" />
      </button>
    </div>
  );
}
