// How the latest run of a node is: state, how far, what it looks like, results.

import { Check, FileText, RotateCcw, X } from "lucide-react";

import { openResult } from "../../app/intents";
import { review } from "../../app/results";
import type { ArtifactRecord, JobRecord } from "../../server/types";
import { duration } from "../../ui/format";
import { isPicture, pictureUrl, thumbnailUrl } from "../../ui/pictures";
import { useText } from "../../ui/text";
import css from "./Node.module.css";
import { useEditor } from "./editor";
import { type Standing, useStanding } from "./runs";

const MOST_PICTURES = 4;
const LONGEST_PEEK = 160;

export function NodeState({ id }: { id: string }) {
  const standing = useStanding(id);
  const awaited = useEditor(({ wires }) => wires.some(({ source, data }) => source === id && data?.picked));
  const gated = useEditor(({ wires }) => wires.some(({ target, data }) => target === id && data?.picked));
  const { records, progress, preview, outputs } = standing;
  if (!records.length) return null;
  const failed = records.find(({ state }) => state === "failed");
  const shown = outputs.slice(-MOST_PICTURES);
  return (
    <div className={css.standing} data-state={stateOf(records)}>
      <p className={css.line}>
        <span>{line(standing, gated)}</span>
        {progress?.eta_seconds != null && <small>{duration(progress.eta_seconds)}</small>}
        {records.every(({ metrics }) => metrics?.reused_from) && (
          <small className={css.reused} title="Nothing had changed: the results of an equal job were given again"><RotateCcw size={11} aria-hidden="true" /> reused</small>
        )}
      </p>
      {share(standing) !== undefined && <progress value={share(standing)} aria-label={`Progress of ${id}`} />}
      {preview && <img className={css.preview} src={preview} alt={`Preview of ${id}`} />}
      {failed?.error && <p className={css.problem}>{failed.error.message}</p>}
      {shown.length > 0 && (
        <div className={css.results} data-one={shown.length === 1}>
          {shown.map((artifact) => <Result key={artifact.id} artifact={artifact} node={id} awaited={awaited} />)}
        </div>
      )}
      {outputs.length > MOST_PICTURES && <small>and {outputs.length - MOST_PICTURES} before</small>}
    </div>
  );
}

export function Result({ artifact, node, awaited }: { artifact: ArtifactRecord; node: string; awaited: boolean }) {
  const name = `result ${artifact.idx + 1} of ${node}`;
  return (
    <div className={css.result} data-review={artifact.review}>
      <button type="button" className="nodrag" onClick={() => openResult(artifact.id)} title={isPicture(artifact) ? undefined : `Open ${name}`}>
        {isPicture(artifact) ? <img src={thumbnailUrl(artifact, 256)} alt={`Open ${name}`} draggable={false} /> : <Peek artifact={artifact} />}
      </button>
      {awaited && (
        <span className={css.picking}>
          <button type="button" className="nodrag" aria-pressed={artifact.review === "picked"} aria-label={`Pick ${name}`} onClick={() => void review([artifact.id], "picked")}>
            <Check size={14} aria-hidden="true" />
          </button>
          <button type="button" className="nodrag" aria-pressed={artifact.review === "rejected"} aria-label={`Reject ${name}`} onClick={() => void review([artifact.id], "rejected")}>
            <X size={14} aria-hidden="true" />
          </button>
        </span>
      )}
    </div>
  );
}

/** The beginning of a text; of others what they are. */
export function Peek({ artifact }: { artifact: ArtifactRecord }) {
  const isText = ["text", "json"].includes(artifact.kind);
  const { text } = useText(isText ? pictureUrl(artifact) : null, LONGEST_PEEK);
  return <span className={css.peek}>{text || <><FileText size={14} aria-hidden="true" /> {artifact.name ?? artifact.kind}</>}</span>;
}

const count = (records: JobRecord[], ...states: string[]): number => records.filter(({ state }) => states.includes(state)).length;

/** The one state of several jobs: what needs attention first. */
function stateOf(records: JobRecord[]): string {
  const order = ["running", "failed", "queued", "waiting", "held", "cancelled", "done"];
  return order.find((state) => count(records, state)) ?? "done";
}

function share({ records, progress }: Standing): number | undefined {
  const ended = count(records, "done", "failed", "cancelled");
  if (ended === records.length || !count(records, "running") && !ended) return undefined;
  return (ended + (progress?.total ? progress.step / progress.total : 0)) / records.length;
}

function line(standing: Standing, gated: boolean): string {
  const { records, progress, running } = standing;
  const state = stateOf(records);
  const many = records.length > 1 ? `${count(records, "done", "failed", "cancelled")} of ${records.length} done · ` : "";
  if (running) return `${many}${progress?.phase || "running"}${progress?.total ? ` ${progress.step}/${progress.total}` : ""}`;
  if (state === "queued") return `${many}queued${place(records)}`;
  if (state === "waiting") return `${many}${gated ? "waits for what you pick" : "waits for the nodes before it"}`;
  return records.length > 1 && state === "done" ? `${records.length} times done` : state;
}

const place = (records: JobRecord[]): string => {
  const { position } = records.find(({ state }) => state === "queued")!;
  return position ? `, number ${position}` : "";
};
