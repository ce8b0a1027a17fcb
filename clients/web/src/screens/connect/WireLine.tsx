// A wire on the canvas, in the colour of what goes through, with what is special about it.

import { BaseEdge, EdgeLabelRenderer, type EdgeProps, getBezierPath, useStore } from "@xyflow/react";
import { memo } from "react";

import { useServer } from "../../server/store";
import css from "./Canvas.module.css";
import { type FlowNode, type Wire, outputOf } from "./graph";

export const WireLine = memo(function WireLine({ id, source, data, selected, ...ends }: EdgeProps<Wire>) {
  const node = useStore((flow) => flow.nodeLookup.get(source)?.internals.userNode) as FlowNode | undefined;
  const kind = useServer(({ catalogue }) => node && outputOf(node, catalogue)?.kind);
  const [path, x, y] = getBezierPath(ends);
  const label = labelOf(data);
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

export const labelOf = (data: Wire["data"]): string =>
  [data?.index !== undefined && `result ${data.index + 1}`, data?.picked && "only picked"].filter(Boolean).join(", ");
