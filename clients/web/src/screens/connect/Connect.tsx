// The Connect screen: jobs as nodes, results as wires, submitted as one flow.

import { ReactFlowProvider, type XYPosition, useReactFlow } from "@xyflow/react";
import { useEffect, useMemo, useState } from "react";
import { useParams } from "wouter";
import { navigate } from "wouter/use-hash-location";

import { isTyping, useKeys } from "../../app/keys";
import { complain, say } from "../../app/notices";
import { memorise, remembered } from "../../server/memory";
import { useServer } from "../../server/store";
import { Dialog } from "../../ui/Dialog";
import { Canvas, FIT } from "./Canvas";
import css from "./Connect.module.css";
import {
  addGiven, addJob, arrange, copied, duplicate, open, paste, redo, removeSelected, select, selectAll, undo, useEditor,
} from "./editor";
import { Flows } from "./Flows";
import { type Ends, outputOf } from "./graph";
import { type Choice, type Fitting, JobList, firstInput } from "./JobList";
import { flowOf } from "./lineage";
import { Panel } from "./NodePanel";
import { run, useReading } from "./runs";
import { starters } from "./starters";
import { Toolbar, saveNow } from "./Toolbar";
import { take } from "./uploading";

export default function Connect() {
  return (
    <ReactFlowProvider>
      <Screen />
    </ReactFlowProvider>
  );
}

interface Wanted {
  position: XYPosition;
  fitting?: Fitting;
}

function Screen() {
  const [wanted, setWanted] = useState<Wanted>();
  const [flows, setFlows] = useState(false);
  const [list, setList] = useState(() => remembered("flow-list") !== "off");
  const middle = useMiddle();
  const isEmpty = useEditor(({ nodes }) => !nodes.length);
  useReading();
  useOpening();
  useClipboard(middle);
  useShortcuts(() => setWanted({ position: middle() }));
  const showList = (shown: boolean) => {
    memorise("flow-list", shown ? "on" : "off");
    setList(shown);
  };
  const choose = (choice: Choice, { position, fitting }: Wanted) => {
    put(choice, position, fitting);
    setWanted(undefined);
  };
  const wantFitting = (fitting: Fitting) => setWanted({ position: beside(fitting), fitting });
  return (
    <div className={css.screen}>
      <h1 className="hidden-text">Connect</h1>
      <Toolbar onList={() => showList(!list)} onAdd={() => setWanted({ position: middle() })} onFlows={() => setFlows(true)} />
      <div className={css.body}>
        {list && (
          <aside className={css.list} aria-label="Jobs">
            <JobList onChoose={(choice) => put(choice, middle())} />
          </aside>
        )}
        <div className={css.canvas}>
          <Canvas
            onWanted={(position, _at, fitting) => setWanted({ position, fitting })}
            onDropped={(choice, position) => put(choice, position)}
          />
          {isEmpty && <Begin />}
        </div>
        <Panel onWanted={wantFitting} />
      </div>
      {wanted && (
        <Dialog title={titleOf(wanted.fitting)} onClose={() => setWanted(undefined)}>
          <JobList autoFocus fitting={wanted.fitting} onChoose={(choice) => choose(choice, wanted)} />
        </Dialog>
      )}
      {flows && <Flows onClose={() => setFlows(false)} />}
    </div>
  );
}

function titleOf(fitting: Fitting | undefined): string {
  if (!fitting) return "Add a node";
  return "from" in fitting ? `What takes the results of ${fitting.from}` : `What goes into ${fitting.input} of ${fitting.to}`;
}

const GRAB = { x: 110, y: 24 }; // a new node is held there
const BESIDE = 340;

/** Puts something on the canvas, connected to what it was chosen for. */
function put(choice: Choice, at: XYPosition, fitting?: Fitting): void {
  const { catalogue } = useServer.getState();
  const { nodes } = useEditor.getState();
  const position = fitting ? at : { x: at.x - GRAB.x, y: at.y - GRAB.y };
  const wire = fitting && ((id: string): Ends => {
    if ("to" in fitting) return { source: id, target: fitting.to, targetHandle: fitting.input };
    const output = outputOf(nodes.find((node) => node.id === fitting.from)!, catalogue)!;
    return { source: fitting.from, target: id, targetHandle: firstInput(catalogue, (choice as { job: string }).job, output)!.name };
  });
  if ("job" in choice) addJob(choice.job, position, wire);
  else addGiven("text" in choice ? { text: "", kind: "text" } : { artifact: "", kind: choice.file }, position, wire);
}

/** A place right of the node whose results are wanted, left of the one that wants something. */
function beside(fitting: Fitting): XYPosition {
  const id = "from" in fitting ? fitting.from : fitting.to;
  const { x, y } = useEditor.getState().nodes.find((node) => node.id === id)!.position;
  return { x: x + ("from" in fitting ? BESIDE : -BESIDE), y };
}

/** The middle of what is seen of the canvas. */
function useMiddle(): () => XYPosition {
  const { screenToFlowPosition } = useReactFlow();
  return () => {
    const box = document.querySelector(".react-flow")!.getBoundingClientRect();
    return screenToFlowPosition({ x: box.x + box.width / 2, y: box.y + box.height / 2 });
  };
}

function useShortcuts(add: () => void): void {
  const { fitView } = useReactFlow();
  useKeys({
    a: ["Add a node", add],
    "ctrl+enter": ["Run the flow", () => void run({})],
    "ctrl+s": ["Save the flow", saveNow],
    "ctrl+z": ["Undo", undo],
    "ctrl+shift+z": ["Redo", redo],
    "ctrl+y": ["Redo", redo],
    "ctrl+a": ["Select all nodes", selectAll],
    "ctrl+d": ["Duplicate what is selected", duplicate],
    delete: ["Delete what is selected", removeSelected],
    backspace: ["Delete what is selected", removeSelected],
    escape: ["Select nothing", () => select()],
    f: ["Show the whole flow", () => void fitView(FIT)],
    l: ["Arrange the nodes", arrange],
  }, "Connect");
}

/** Copy, cut and paste of nodes, as the text of a flow; a file that is pasted becomes a node. */
function useClipboard(middle: () => XYPosition): void {
  useEffect(() => {
    const isOurs = (event: ClipboardEvent) => !isTyping(event.target) && !document.querySelector("dialog:modal") && !getSelection()?.toString();
    const copy = (event: ClipboardEvent) => {
      const text = isOurs(event) ? copied() : null;
      if (!text) return;
      event.preventDefault();
      event.clipboardData!.setData("text/plain", text);
      if (event.type === "cut") removeSelected();
    };
    const put = (event: ClipboardEvent) => {
      if (isTyping(event.target) || document.querySelector("dialog:modal")) return;
      const { files } = event.clipboardData!;
      const text = event.clipboardData!.getData("text/plain");
      event.preventDefault();
      if (files.length) return [...files].forEach((file) => void take(file, middle()));
      try {
        paste(text);
      } catch (error) {
        complain(error);
      }
    };
    document.addEventListener("copy", copy);
    document.addEventListener("cut", copy);
    document.addEventListener("paste", put);
    return () => {
      document.removeEventListener("copy", copy);
      document.removeEventListener("cut", copy);
      document.removeEventListener("paste", put);
    };
  });
}

/** `#/connect/ID` opens how that result was made. */
function useOpening(): void {
  const { id } = useParams();
  const isReady = useServer(({ catalogue }) => Object.keys(catalogue).length > 0);
  useEffect(() => {
    if (!id || !isReady) return;
    navigate("/connect", { replace: true });
    flowOf(id).then((graph) => {
      open(graph);
      say("This is how it was made. Undo brings back what was here.");
    }, complain);
  }, [id, isReady]);
}

/** What an empty canvas says. */
function Begin() {
  const catalogue = useServer((server) => server.catalogue);
  const offered = useMemo(() => starters(catalogue), [catalogue]);
  return (
    <div className={css.begin}>
      <h2>Chain jobs: the results of one go into the next</h2>
      <p>Double-click for a node, drop a picture, or begin with one of these.</p>
      <div className={css.starters}>
        {offered.map(({ title, help, graph }) => (
          <button key={title} type="button" onClick={() => open(graph)}>
            <strong>{title}</strong>
            <span>{help}</span>
          </button>
        ))}
      </div>
    </div>
  );
}
