// What is known of a result: how it was made, of what it was made and what was made of it.

import { X } from "lucide-react";
import { useState } from "react";
import { Link } from "wouter";

import { words } from "../../forms/schema";
import { useServer } from "../../server/store";
import type { ArtifactRecord, JobRecord } from "../../server/types";
import { useAsked } from "../../ui/asked";
import { CopyButton } from "../../ui/CopyButton";
import { deviceOf, duration, moment, size, jobTitle } from "../../ui/format";
import { isPicture, thumbnailUrl } from "../../ui/pictures";
import type { Relative } from "./lineage";
import css from "./Panel.module.css";
import { aboutOf, shown, told } from "./words";

const RELATIVES = 12; // shown of each kind
const SHORT = 60; // characters of a fact that is told at once
const TOLD = ["infotext", "width", "height", "seed", "partial"]; // facts that are told elsewhere in words

const isSimple = ([name, value]: [string, unknown]): boolean =>
  !TOLD.includes(name) && (typeof value === "number" || (typeof value === "string" && value.length <= SHORT));

export function Panel({ artifact, onClose }: { artifact: ArtifactRecord; onClose: () => void }) {
  const { answer } = useAsked<{ job: JobRecord }>(artifact.job ? "job" : null, { id: artifact.job });
  const job = answer?.job;
  const { facts } = artifact;
  const title = artifact.name ?? (job ? jobTitle(job.name) : artifact.job ? "Result" : "Upload");
  return (
    <aside className={css.panel} aria-label="Details">
      <header>
        <h2 title={title}>{title}</h2>
        <button type="button" className="quiet" onClick={onClose} aria-label="Hide the details"><X size={18} aria-hidden="true" /></button>
      </header>
      {facts.partial && <p className={css.note}>Partial: its job was stopped before it was finished.</p>}
      {job && <Parameters job={job} />}
      <dl className={css.values}>
        {"seed" in facts && <Value name="Seed"><span>{facts.seed}</span><CopyButton text={String(facts.seed)} what="the seed" /></Value>}
        {facts.width && <Value name="Size">{facts.width} × {facts.height}, {size(artifact.size_bytes)}</Value>}
        {!facts.width && <Value name="Size">{size(artifact.size_bytes)}</Value>}
        {Object.entries(facts).filter(isSimple).map(([name, value]) => <Value key={name} name={words(name)}>{String(value)}</Value>)}
        <Value name="Made">{moment(artifact.created)}{job && took(job)}{job && where(job)}</Value>
        <Value name="Session">{artifact.session}</Value>
        <Value name="Id"><code title={artifact.id}>{artifact.id}</code><CopyButton text={artifact.id} what="the id" /></Value>
      </dl>
      {typeof facts.infotext === "string" && <Infotext text={facts.infotext} />}
      <Facts facts={facts} />
      <Family id={artifact.id} direction="ancestors" title="Made from" nearest />
      <Family id={artifact.id} direction="descendants" title="Made of it" nearest />
      <Family id={artifact.id} direction="siblings" title="Beside it" />
      {artifact.job && <Log job={artifact.job} />}
    </aside>
  );
}

const took = ({ metrics }: JobRecord): string =>
  typeof metrics?.total_seconds === "number" ? `, in ${duration(metrics.total_seconds)}` : "";

const where = ({ worker }: JobRecord): string => (deviceOf(worker) ? `, on ${deviceOf(worker)}` : "");

function Value({ name, children }: { name: string; children: React.ReactNode }) {
  return <div><dt>{name}</dt><dd>{children}</dd></div>;
}

function Parameters({ job }: { job: JobRecord }) {
  const type = useServer(({ catalogue }) => catalogue[job.name]);
  const { prompts, changed, groups } = told(job.params, type);
  const row = ([name, value]: [string, unknown]) => (
    <Value key={name} name={words(name)}><span className={css.value}>{shown(value)}</span></Value>
  );
  return (
    <>
      {prompts.map(([name, text]) => (
        <section key={name} className={css.prompt}>
          <h3>{words(name)} <CopyButton text={text} what={words(name).toLowerCase()} /></h3>
          <p>{text}</p>
        </section>
      ))}
      {changed.length > 0 && <dl className={css.values} aria-label="Differs from the defaults">{changed.map(row)}</dl>}
      <details>
        <summary>All parameters of {jobTitle(job.name)}</summary>
        {groups.map(([group, values]) => (
          <section key={group}>
            {group && <h3>{words(group)}</h3>}
            <dl className={css.values}>{values.map(row)}</dl>
          </section>
        ))}
      </details>
    </>
  );
}

function Infotext({ text }: { text: string }) {
  return (
    <details>
      <summary>Infotext <CopyButton text={text} what="the infotext" /></summary>
      <pre>{text}</pre>
    </details>
  );
}

function Facts({ facts }: { facts: Record<string, unknown> }) {
  const rest = Object.entries(facts).filter((fact) => !TOLD.includes(fact[0]) && !isSimple(fact));
  if (!rest.length) return null;
  return (
    <details>
      <summary>More facts</summary>
      <dl className={css.values}>{rest.map(([name, value]) => <Value key={name} name={words(name)}><span className={css.value}>{shown(value)}</span></Value>)}</dl>
    </details>
  );
}

interface FamilyProps {
  id: string;
  direction: "ancestors" | "descendants" | "siblings";
  title: string;
  /** Parents and children alone. */
  nearest?: boolean;
}

function Family({ id, direction, title, nearest }: FamilyProps) {
  const question = { id, direction, limit: RELATIVES, ...(nearest && { depth: 1 }) };
  const { answer } = useAsked<{ artifacts: Relative[]; more: boolean }>("lineage", question);
  if (!answer?.artifacts.length) return null;
  return (
    <section>
      <h3>{title}</h3>
      <div className={css.family}>
        {answer.artifacts.map((each) => (
          <Link key={each.id} href={`/results/${each.id}`} title={each.job_name ? jobTitle(each.job_name) : "Upload"}>
            {isPicture(each) ? <img src={thumbnailUrl(each, 192)} alt={aboutOf(each)} loading="lazy" decoding="async" /> : <span>{each.kind}</span>}
          </Link>
        ))}
        {answer.more && <span className={css.more}>and more</span>}
      </div>
    </section>
  );
}

function Log({ job }: { job: string }) {
  const [open, setOpen] = useState(false);
  const { answer } = useAsked<{ lines: { text: string }[] }>(open ? "logs" : null, { job, limit: 500 });
  const text = answer?.lines.map((line) => line.text).join("\n");
  return (
    <details onToggle={({ currentTarget }) => setOpen(currentTarget.open)}>
      <summary>Log of the job</summary>
      {answer && <pre>{text || "It said nothing."}</pre>}
    </details>
  );
}
