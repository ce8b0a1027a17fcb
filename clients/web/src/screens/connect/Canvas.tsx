// The canvas: nodes and wires, drawn, dragged and connected.

import "@xyflow/react/dist/base.css";

import {
  Background, type Connection, ConnectionLineType, MiniMap, Panel, ReactFlow, type XYPosition, useConnection, useReactFlow, useStoreApi,
} from "@xyflow/react";
import { Maximize, Minus, Network, Plus } from "lucide-react";
import { type DragEvent, useEffect, useState } from "react";

import { useServer } from "../../server/store";
import css from "./Canvas.module.css";
import { arrange, changeNodes, changeWires, connect, remember, useEditor } from "./editor";
import { GivenNode } from "./GivenNode";
import { type Ends, type FlowNode, type Wire, converterOf, outputOf, refusal } from "./graph";
import { type Choice, DRAGGED, type Fitting } from "./JobList";
import { JobNode } from "./JobNode";
import { take } from "./uploading";
import { WireLine } from "./WireLine";

const NODES = { job: JobNode, given: GivenNode };
const WIRES = { wire: WireLine };
export const FIT = { padding: 0.15, maxZoom: 1, duration: 200 };
const NEAR = 28; // pixels around a socket in which a wire snaps to it

interface Props {
  /** Opens the list of jobs for a place on the canvas, on the page at `at`. */
  onWanted: (position: XYPosition, at: XYPosition, fitting?: Fitting) => void;
  onDropped: (choice: Choice, position: XYPosition) => void;
}

export function Canvas({ onWanted, onDropped }: Props) {
  const { nodes, wires, shown } = useEditor();
  const { screenToFlowPosition, fitView } = useReactFlow();
  const [dragging, setDragging] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => void fitView(FIT), 50); // when the new nodes have been measured
    return () => clearTimeout(timer);
  }, [shown, fitView]);
  useInView();
  const isFitting = (ends: Connection | Wire) => !refusal(useEditor.getState(), useServer.getState().catalogue, ends as Ends);
  const drop = (event: DragEvent) => {
    event.preventDefault();
    const position = screenToFlowPosition({ x: event.clientX, y: event.clientY });
    const choice = event.dataTransfer.getData(DRAGGED);
    if (choice) return onDropped(JSON.parse(choice), position);
    [...event.dataTransfer.files].forEach((file, at) => {
      const onto = document.elementFromPoint(event.clientX, event.clientY)?.closest<HTMLElement>(".react-flow__node");
      void take(file, { x: position.x + 24 * at, y: position.y + 24 * at }, at ? undefined : emptyNode(onto?.dataset.id));
    });
  };
  return (
    <ReactFlow<FlowNode, Wire>
      className={css.canvas} nodes={nodes} edges={wires} nodeTypes={NODES} edgeTypes={WIRES}
      onNodesChange={(changes) => {
        if (!dragging && changes.some(({ type }) => type === "position")) remember("arrow keys");
        changeNodes(changes);
      }}
      onEdgesChange={changeWires}
      onNodeDragStart={() => {
        remember();
        setDragging(true);
      }}
      onNodeDragStop={() => setDragging(false)}
      onConnect={(ends) => connect(ends as Ends)}
      isValidConnection={isFitting}
      onConnectEnd={(event, { fromNode, fromHandle, toNode, toHandle }) => {
        if (!fromNode || !fromHandle || toHandle || toNode) return;
        const { clientX: x, clientY: y } = "changedTouches" in event ? event.changedTouches[0] : event;
        const fitting = fromHandle.type === "source" ? { from: fromNode.id } : { to: fromNode.id, input: fromHandle.id! };
        onWanted(screenToFlowPosition({ x, y }), { x, y }, fitting);
      }}
      onPaneClick={({ detail, clientX: x, clientY: y }) => detail === 2 && onWanted(screenToFlowPosition({ x, y }), { x, y })}
      onDragOver={(event) => event.preventDefault()}
      onDrop={drop}
      connectionLineType={ConnectionLineType.Bezier} connectionRadius={NEAR} deleteKeyCode={null} zoomOnDoubleClick={false}
      multiSelectionKeyCode={["Control", "Meta", "Shift"]}
      minZoom={0.1} maxZoom={2} fitView fitViewOptions={FIT}
      ariaLabelConfig={{ "node.a11yDescription.default": "Press Enter to select it, then the arrow keys to move it and Delete to remove it." }}
    >
      <Background gap={24} />
      <MiniMap className={css.map} pannable zoomable ariaLabel="Map of the flow" nodeClassName={({ type }) => `map-${type}`} />
      <Panel position="bottom-left"><Controls /></Panel>
      <Panel position="top-center"><Reason /></Panel>
    </ReactFlow>
  );
}

/** Brings a node that is chosen into view, where the panel at the side has covered it. */
function useInView(): void {
  const id = useEditor(({ nodes }) => {
    const chosen = nodes.filter(({ selected }) => selected);
    return chosen.length === 1 ? chosen[0].id : undefined;
  });
  const { getInternalNode, getViewport, setViewport } = useReactFlow();
  const box = useStoreApi();
  useEffect(() => {
    const timer = setTimeout(() => {
      const node = id && getInternalNode(id);
      if (!node) return;
      const { x, y, zoom } = getViewport();
      const { width, height } = box.getState();
      const [nodeWidth, nodeHeight] = [node.measured.width ?? 0, node.measured.height ?? 0].map((each) => each * zoom);
      const at = node.internals.positionAbsolute;
      const [left, top] = [at.x * zoom + x, at.y * zoom + y];
      const moved = { x: x + into(left, nodeWidth, width), y: y + into(top, nodeHeight, height), zoom };
      if (moved.x !== x || moved.y !== y) void setViewport(moved, { duration: 150 });
    }, 80); // when the panel is there
    return () => clearTimeout(timer);
  }, [id, box, getInternalNode, getViewport, setViewport]);
}

const MARGIN = 24;

/** How far something has to move to lie between 0 and `room`; its beginning counts more than its end. */
function into(start: number, length: number, room: number): number {
  const past = Math.max(0, start + length + MARGIN - room);
  return Math.max(MARGIN, start - past) - start;
}

/** The node of that id if it waits for a file. */
function emptyNode(id: string | undefined): string | undefined {
  const node = useEditor.getState().nodes.find((each) => each.id === id);
  return node?.type === "given" && node.data.artifact !== undefined ? node.id : undefined;
}

function Controls() {
  const { zoomIn, zoomOut, fitView } = useReactFlow();
  const buttons = [
    ["Zoom in", Plus, () => zoomIn()],
    ["Zoom out", Minus, () => zoomOut()],
    ["Show all (F)", Maximize, () => fitView(FIT)],
    ["Arrange (L)", Network, arrange],
  ] as const;
  return (
    <div className={css.controls}>
      {buttons.map(([label, Icon, act]) => (
        <button key={label} type="button" onClick={() => void act()} aria-label={label} title={label}><Icon size={16} aria-hidden="true" /></button>
      ))}
    </div>
  );
}

/** Why the wire that is being dragged may not end where it is. */
function Reason() {
  const catalogue = useServer((server) => server.catalogue);
  const said = useConnection((connection) => {
    if (!connection.inProgress) return "";
    const { fromNode, fromHandle, toHandle } = connection;
    if (!toHandle) {
      const kind = fromHandle.type === "source" && outputOf(fromNode.internals.userNode as FlowNode, catalogue)?.kind;
      return kind ? `Drop it on an input for ${kind}, or on a free place for a new node.` : "";
    }
    if (toHandle.type === fromHandle.type) return "A wire goes from results to an input.";
    const [from, to] = fromHandle.type === "source" ? [fromHandle, toHandle] : [toHandle, fromHandle];
    const ends = { source: from.nodeId, target: to.nodeId, targetHandle: to.id! };
    const converter = converterOf(ends, useEditor.getState().nodes, catalogue);
    return refusal(useEditor.getState(), catalogue, ends) ?? (converter ? `It becomes ${converter.output.kind} first, by ${converter.full}.` : "");
  });
  return <p className={css.reason} role="status" hidden={!said}>{said}</p>;
}


