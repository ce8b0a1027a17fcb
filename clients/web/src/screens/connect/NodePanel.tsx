// What is beside the canvas: the parameters and connections of the selected node or wire.

import { ArrowDown, ArrowUp, Copy, Play, Trash2, X } from "lucide-react";
import { type ReactNode, useEffect, useId, useRef, useState } from "react";

import { fits } from "../../app/fitting";
import { complain } from "../../app/notices";
import { JobForm } from "../../forms/JobForm";
import { byField, call } from "../../server/client";
import { useServer } from "../../server/store";
import type { ArtifactRecord, ErrorBody, JobType, Port } from "../../server/types";
import { isPicture, thumbnailUrl } from "../../ui/pictures";
import css from "./NodePanel.module.css";
import { connect, duplicate, moveWire, remove, select, setGiven, setParams, setWire, useEditor } from "./editor";
import { useArtifact } from "./GivenNode";
import { type FlowNode, type GivenNode, type JobNode, type Wire, converterOf, outputOf, refusal, typeOf } from "./graph";
import type { Fitting } from "./JobList";
import { Peek, Result } from "./NodeState";
import { Letter, told } from "./Ports";
import { clearProblem, run, useRuns, useStanding } from "./runs";
import { upload } from "./uploading";
import { labelOf } from "./WireLine";

interface Props {
  /** Opens the list of jobs that fit there. */
  onWanted: (fitting: Fitting) => void;
}

/** Shown while one node or one wire is selected. */
export function Panel({ onWanted }: Props) {
  const node = useEditor(({ nodes }) => only(nodes));
  const wire = useEditor(({ nodes, wires }) => (only(nodes) ? undefined : only(wires)));
  if (!node && !wire) return null;
  return (
    <aside className={css.panel} aria-label={node ? `About ${node.id}` : "About this connection"}>
      {node?.type === "job" && <AboutJob key={node.id} node={node} onWanted={onWanted} />}
      {node?.type === "given" && <AboutGiven key={node.id} node={node} onWanted={onWanted} />}
      {wire && <AboutWire key={wire.id} wire={wire} />}
    </aside>
  );
}

function only<Item extends { selected?: boolean }>(items: Item[]): Item | undefined {
  const chosen = items.filter(({ selected }) => selected);
  return chosen.length === 1 ? chosen[0] : undefined;
}

function Head({ title, below, children }: { title: string; below?: string; children?: ReactNode }) {
  return (
    <header className={css.head}>
      <div>
        <h2 title={title}>{title}</h2>
        {below && <p>{below}</p>}
      </div>
      {children}
      <button type="button" className="quiet" onClick={() => select()} aria-label="Close" title="Close"><X size={18} aria-hidden="true" /></button>
    </header>
  );
}

function Actions({ id }: { id: string }) {
  return (
    <>
      <button type="button" className="quiet" onClick={duplicate} aria-label={`Duplicate ${id}`} title="Duplicate (Ctrl+D)"><Copy size={16} aria-hidden="true" /></button>
      <button type="button" className="quiet" onClick={() => remove([id])} aria-label={`Delete ${id}`} title="Delete (Del)"><Trash2 size={16} aria-hidden="true" /></button>
    </>
  );
}

function AboutJob({ node, onWanted }: Props & { node: JobNode }) {
  const { id, data } = node;
  const type = useServer(({ catalogue }) => typeOf(catalogue, data.job));
  const refused = useRuns(({ problems }) => problems[id]);
  const { records, outputs } = useStanding(id);
  const awaited = useEditor(({ wires }) => wires.some(({ source, data }) => source === id && data?.picked));
  const problem = refused ?? records.findLast(({ error }) => error)?.error;
  return (
    <>
      <Head title={id} below={type?.title}>
        <button type="button" className="quiet" onClick={() => void run({ upTo: id, keepSeeds: true })} aria-label="Run up to here" title="Run up to here"><Play size={16} aria-hidden="true" /></button>
        <Actions id={id} />
      </Head>
      {type?.help && <p className={css.help}>{type.help}</p>}
      {problem && <p className="error" role="alert">{general(problem, type)}</p>}
      {outputs.length > 0 && (
        <section aria-label="Results" className={css.results}>
          {outputs.map((artifact) => <Result key={artifact.id} artifact={artifact} node={id} awaited={awaited} />)}
        </section>
      )}
      {type && (
        <section aria-label="Connections">
          <h3>Connections</h3>
          <Inputs node={node} type={type} problem={problem} onWanted={onWanted} />
          <Targets node={node} onWanted={onWanted} />
        </section>
      )}
      {type ? (
        <section aria-label="Parameters">
          <h3>Parameters</h3>
          <JobForm
            job={type} params={data.params} problem={problem}
            onChange={(params) => {
              clearProblem(id);
              setParams(id, params);
            }}
          />
        </section>
      ) : (
        <pre className={css.raw}>{JSON.stringify(data.params, null, 2)}</pre>
      )}
    </>
  );
}

/** What is said of a problem at the top: what belongs to no field, or that there is something below. */
function general(problem: ErrorBody, type: JobType | undefined): string {
  const fields = [...Object.keys(type?.params.properties ?? {}), ...Object.keys(type?.inputs ?? {})];
  return byField(problem, fields)[""] ?? "Something below has to be mended.";
}

function Inputs({ node, type, problem, onWanted }: Props & { node: JobNode; type: JobType; problem?: ErrorBody | null }) {
  const problems = byField(problem, Object.keys(type.inputs));
  return Object.entries(type.inputs).map(([name, port]) => (
    <Input key={name} id={node.id} name={name} port={port} problem={problems[name]} onWanted={onWanted} />
  ));
}

function Input({ id, name, port, problem, onWanted }: Props & { id: string; name: string; port: Port; problem?: string }) {
  const label = useId();
  const wires = useEditor((editor) => editor.wires);
  const said = (wire: Wire) => labelOf(wire.data, converterOf(wire, useEditor.getState().nodes, catalogue()));
  const mine = wires.filter(({ target, targetHandle }) => target === id && targetHandle === name);
  return (
    <div className={css.input} role="group" aria-labelledby={label}>
      <p id={label} title={port.help}><Letter kind={port.kind} /> {name.replaceAll("_", " ")} <span className="hidden-text">{port.kind}</span> <small>{told(port)}</small></p>
      {mine.length > 0 && (
        <ul>
          {mine.map((wire, at) => (
            <li key={wire.id}>
              <button type="button" className={css.end} onClick={() => select(wire.source)} title={`Show ${wire.source}`}>{wire.source}{said(wire) && ` (${said(wire)})`}</button>
              {mine.length > 1 && (
                <>
                  <button type="button" className="quiet" disabled={at === 0} onClick={() => moveWire(wire.id, -1)} aria-label={`${wire.source} earlier`}><ArrowUp size={14} aria-hidden="true" /></button>
                  <button type="button" className="quiet" disabled={at === mine.length - 1} onClick={() => moveWire(wire.id, 1)} aria-label={`${wire.source} later`}><ArrowDown size={14} aria-hidden="true" /></button>
                </>
              )}
              <button type="button" className="quiet" onClick={() => remove([], [wire.id])} aria-label={`Disconnect ${wire.source}`}><X size={14} aria-hidden="true" /></button>
              <Gate wire={wire} />
            </li>
          ))}
        </ul>
      )}
      {(!mine.length || port.list) && (
        <Choose
          label={`Connect ${name} from`} hint="From …" more="Something new …"
          options={sources(id, name)} onMore={() => onWanted({ to: id, input: name })}
          onChoose={(source) => connect({ source, target: id, targetHandle: name })}
        />
      )}
      {problem && <p className="error">{problem}</p>}
    </div>
  );
}

function Targets({ node, onWanted }: Props & { node: FlowNode }) {
  useEditor((editor) => editor.wires);
  const kind = useServer(({ catalogue }) => outputOf(node, catalogue)?.kind);
  if (!kind) return null;
  return (
    <div className={css.input}>
      <p><Letter kind={kind} /> Results</p>
      <Choose
        label={`Connect ${node.id} to`} hint="To …" more="Something new …" options={targets(node)} onMore={() => onWanted({ from: node.id })}
        onChoose={(end) => {
          const [target, targetHandle] = JSON.parse(end);
          connect({ source: node.id, target, targetHandle });
        }}
      />
    </div>
  );
}

type Option = [value: string, text: string];

/** A list to choose from, once: it shows its hint again afterwards. */
function Choose({ label, hint, more, options, onChoose, onMore }: {
  label: string; hint: string; more: string; options: Option[]; onChoose: (value: string) => void; onMore: () => void;
}) {
  return (
    <select aria-label={label} value="" onChange={({ target }) => (target.value === "+" ? onMore() : onChoose(target.value))}>
      <option value="" disabled>{hint}</option>
      {options.map(([value, text]) => <option key={value} value={value}>{text}</option>)}
      <option value="+">{more}</option>
    </select>
  );
}

const catalogue = () => useServer.getState().catalogue;

function sources(target: string, targetHandle: string): Option[] {
  const graph = useEditor.getState();
  const fitting = graph.nodes.filter(({ id }) => !refusal(graph, catalogue(), { source: id, target, targetHandle }));
  return fitting.map(({ id }) => [id, id]);
}

function targets(node: FlowNode): Option[] {
  const graph = useEditor.getState();
  return graph.nodes.flatMap((other) => {
    const inputs = other.type === "job" ? Object.keys(typeOf(catalogue(), other.data.job)?.inputs ?? {}) : [];
    const fitting = inputs.filter((targetHandle) => !refusal(graph, catalogue(), { source: node.id, target: other.id, targetHandle }));
    return fitting.map((input): Option => [JSON.stringify([other.id, input]), `${other.id}: ${input}`]);
  });
}

/** Which of the results go through a wire. */
function Gate({ wire }: { wire: Wire }) {
  const source = useEditor(({ nodes }) => nodes.find(({ id }) => id === wire.source));
  if (source?.type === "given" && source.data.results === undefined) return null;
  const { index, picked } = wire.data ?? {};
  return (
    <div className={css.gate}>
      <label>
        <input type="checkbox" checked={Boolean(picked)} onChange={({ target }) => setWire(wire.id, { picked: target.checked || undefined })} />
        Only what I pick
      </label>
      <label>
        Result
        <input
          type="number" min={1} placeholder="all" value={index === undefined ? "" : index + 1}
          onChange={({ target }) => setWire(wire.id, { index: target.value ? Math.max(0, Number(target.value) - 1) : undefined })}
        />
      </label>
    </div>
  );
}

function AboutWire({ wire }: { wire: Wire }) {
  const converter = useServer(({ catalogue }) => converterOf(wire, useEditor.getState().nodes, catalogue));
  return (
    <>
      <Head title={`${wire.source} → ${wire.target}`} below={`into ${wire.targetHandle}`}>
        <button type="button" className="quiet" onClick={() => remove([], [wire.id])} aria-label="Delete this connection" title="Delete (Del)"><Trash2 size={16} aria-hidden="true" /></button>
      </Head>
      {converter && (
        <p className={css.help}>
          What {wire.source} gives does not fit as it is: when the flow runs, {converter.full} makes {converter.output.kind} of it in between.
        </p>
      )}
      <p className={css.help}>“Only what I pick” lets {wire.target} wait until you have picked or rejected each result of {wire.source}.</p>
      <Gate wire={wire} />
    </>
  );
}

const ACCEPT: Record<string, string> = { image: "image/*", mask: "image/*", audio: "audio/*", video: "video/*" };

function AboutGiven({ node, onWanted }: Props & { node: GivenNode }) {
  const { id, data } = node;
  const label = useId();
  const input = useRef<HTMLInputElement>(null);
  const { artifact } = useArtifact(data.artifact);
  return (
    <>
      <Head title={data.name ?? id} below={data.kind}><Actions id={id} /></Head>
      {data.text !== undefined && (
        <div>
          <label htmlFor={label}>Text</label>
          <textarea id={label} rows={6} value={data.text} onChange={({ target }) => setGiven(id, { text: target.value })} />
        </div>
      )}
      {artifact && <div className={css.shown}>{isPicture(artifact) ? <img src={thumbnailUrl(artifact, 640)} alt={data.name ?? id} /> : <Peek artifact={artifact} />}</div>}
      {data.artifact !== undefined && (
        <>
          <button type="button" onClick={() => input.current!.click()}>Choose a file</button>
          <input
            ref={input} type="file" hidden accept={ACCEPT[data.kind]} aria-label={`File for ${id}`}
            onChange={({ target }) => target.files?.[0] && void upload(target.files[0], id)}
          />
          <Earlier kind={data.kind} onChoose={(chosen) => setGiven(id, { artifact: chosen.id, kind: chosen.kind, name: chosen.name ?? undefined })} />
        </>
      )}
      <Targets node={node} onWanted={onWanted} />
    </>
  );
}

const NEWEST = 60;

/** The newest results and uploads that could stand here. */
function Earlier({ kind, onChoose }: { kind: string; onChoose: (artifact: ArtifactRecord) => void }) {
  const [found, setFound] = useState<ArtifactRecord[]>([]);
  useEffect(() => {
    call<{ artifacts: ArtifactRecord[] }>("artifacts", { limit: NEWEST }).then(({ artifacts }) => setFound(artifacts), complain);
  }, []);
  const fitting = found.filter((artifact) => fits(artifact.kind, kind));
  if (!fitting.length) return null;
  return (
    <section aria-label="Earlier results">
      <h3>Earlier results</h3>
      <div className={css.earlier}>
        {fitting.map((artifact) => (
          <button key={artifact.id} type="button" onClick={() => onChoose(artifact)} aria-label={`Use ${artifact.name ?? artifact.id}`}>
            {isPicture(artifact) ? <img src={thumbnailUrl(artifact, 128)} alt="" loading="lazy" /> : <span>{artifact.name ?? artifact.kind}</span>}
          </button>
        ))}
      </div>
    </section>
  );
}
