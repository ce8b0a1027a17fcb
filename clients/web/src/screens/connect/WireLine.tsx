// A wire on the canvas, in the colour of what goes through, with what is special about it.

import { BaseEdge, EdgeLabelRenderer, type EdgeProps, getBezierPath, useStore } from "@xyflow/react";
import { memo } from "react";

import { turns } from "../../app/fitting";
import { useServer } from "../../server/store";
import type { JobType } from "../../server/types";
import css from "./Canvas.module.css";
import { type FlowNode, type Wire, converterOf, outputOf } from "./graph";

export const WireLine = memo(function WireLine({ id, source, target, targetHandleId, data, selected, ...ends }: EdgeProps<Wire>) {
  const from = useStore((flow) => flow.nodeLookup.get(source)?.internals.userNode) as FlowNode | undefined;
  const to = useStore((flow) => flow.nodeLookup.get(target)?.internals.userNode) as FlowNode | undefined;
  const kind = useServer(({ catalogue }) => from && outputOf(from, catalogue)?.kind);
  const converter = useServer(({ catalogue }) =>
    from && to && converterOf({ source, target, targetHandle: targetHandleId! }, [from, to], catalogue));
  const [path, x, y] = getBezierPath(ends);
  const label = labelOf(data, converter);
  return (
    <>
      <BaseEdge id={id} path={path} className={css.wire} interactionWidth={24} data-kind={kind} data-selected={selected} />
      {label && (
        <EdgeLabelRenderer>
          <span className={css.label} style={{ transform: `translate(-50%, -50%) translate(${x}px, ${y}px)` }}>{label}</span>
        </EdgeLabelRenderer>
      )}
    </>
  );
});

export const labelOf = (data: Wire["data"], converter?: JobType): string =>
  [data?.index !== undefined && `result ${data.index + 1}`, data?.picked && "only picked", converter && turns(converter)].filter(Boolean).join(", ");
