// A job on the canvas: its ports, what was changed, how it runs, and what came out.

import { type ConnectionState, type NodeProps, Handle, Position, useConnection, useNodeConnections } from "@xyflow/react";
import { Play, TriangleAlert } from "lucide-react";
import { memo } from "react";
import { useShallow } from "zustand/react/shallow";

import { sentence } from "../../server/client";
import { useServer } from "../../server/store";
import type { JobType } from "../../server/types";
import css from "./Node.module.css";
import { type FlowNode, type JobNode as Shown, changes, outputOf, typeOf, wayOf } from "./graph";
import { InputPort, OutputPort } from "./Ports";
import { NodeState } from "./NodeState";
import { run, useRuns } from "./runs";

const MOST_CHANGES = 4; // told on the node

export const JobNode = memo(function JobNode({ id, data }: NodeProps<Shown>) {
  const type = useServer(({ catalogue }) => typeOf(catalogue, data.job));
  const problem = useRuns(({ problems }) => problems[id]);
  const inputs = useNodeConnections({ handleType: "target" }).map(({ targetHandle }) => targetHandle!);
  const takes = useDragged(id, type);
  const changed = changes(type, data.params);
  return (
    <div className={css.node} data-bad={Boolean(problem) || !type}>
      <header>
        <strong title={data.job}>{id.replaceAll("_", " ")}</strong>
        <small title={type?.title}>{type?.title}</small>
        <button type="button" className="quiet nodrag" aria-label={`Run up to ${id}`} title="Run up to here" onClick={() => void run({ upTo: id, keepSeeds: true })}>
          <Play size={14} aria-hidden="true" />
        </button>
      </header>
      {!type && <Unknown job={data.job} inputs={inputs} />}
      {type && (
        <div className={css.ports}>
          <OutputPort {...type.output} />
          {Object.entries(type.inputs).map(([name, port]) => (
            <InputPort
              key={name} name={name} port={port} taken={inputs.includes(name)}
              open={takes?.includes(name)}
            />
          ))}
        </div>
      )}
      {changed.length > 0 && (
        <dl className={css.changes}>
          {changed.slice(0, MOST_CHANGES).map(([name, value]) => (
            <div key={name} title={`${name}: ${value}`}><dt>{name}</dt><dd>{value}</dd></div>
          ))}
          {changed.length > MOST_CHANGES && <div><dt>and {changed.length - MOST_CHANGES} more</dt></div>}
        </dl>
      )}
      {problem && <p className={css.problem} role="alert">{sentence(problem)}</p>}
      <NodeState id={id} />
    </div>
  );
});

/** The inputs that a wire may end at which is being dragged; undefined while none is. */
function useDragged(id: string, type: JobType | undefined): string[] | undefined {
  const catalogue = useServer((server) => server.catalogue);
  return useConnection(useShallow((connection: ConnectionState) => {
    if (!connection.inProgress || connection.fromHandle.type !== "source") return undefined;
    const output = outputOf(connection.fromNode.internals.userNode as FlowNode, catalogue);
    if (connection.fromNode.id === id || !output || !type) return [];
    return Object.keys(type.inputs).filter((name) => !wayOf(catalogue, output, type, type.inputs[name]).problem);
  }));
}

/** A job that no plugin announces: its wires stay. */
function Unknown({ job, inputs }: { job: string; inputs: string[] }) {
  return (
    <>
      <p className={css.problem}>
        <TriangleAlert size={14} aria-hidden="true" /> No plugin announces {job} just now. Nothing is lost: it works again when its plugin is back.
      </p>
      {[...new Set(inputs)].map((name) => (
        <div key={name} className={css.input}>
          <Handle type="target" position={Position.Left} id={name} className={css.handle} />
          <span>{name}</span>
        </div>
      ))}
      <div className={css.output}>
        <Handle type="source" position={Position.Right} id="results" className={css.handle} />
      </div>
    </>
  );
}
