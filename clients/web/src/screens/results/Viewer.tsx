// One result in full: the thing itself, what is known of it, and everything that can be done with it.

import { ArrowLeft, Brush, ChevronLeft, ChevronRight, Copy, Download, FilePen, GitFork, Info, RefreshCw, Send, ThumbsDown, ThumbsUp, Trash2, Waypoints } from "lucide-react";
import { type ReactNode, useEffect, useState } from "react";
import { navigate } from "wouter/use-hash-location";

import { openAsFlow, openPainter } from "../../app/intents";
import { useKeys } from "../../app/keys";
import { onEvent, sentence } from "../../server/client";
import { useServer } from "../../server/store";
import type { ArtifactRecord, ErrorBody } from "../../server/types";
import { useAsked } from "../../ui/asked";
import { Empty } from "../../ui/Empty";
import { Menu } from "../../ui/Menu";
import { isPicture, pictureUrl } from "../../ui/pictures";
import { SendTo } from "../../ui/SendTo";
import { again, canPaint, copyPicture, download, reuseForm, review } from "../../app/results";
import { DeleteDialog } from "./DeleteDialog";
import { neighbour, readAhead, useGallery } from "./gallery";
import { LineageGraph } from "./LineageGraph";
import { Panel } from "./Panel";
import { Stage } from "./Stage";
import { useText } from "../../ui/text";
import { FITTED, moved, useView, zoomed } from "./view";
import css from "./Viewer.module.css";

const STEP = 1.25; // of the zoom keys
const PAN = 0.08; // of the picture, of the arrow keys

interface Props {
  id: string;
  onClose: () => void;
}

export function Viewer({ id, onClose }: Props) {
  const { artifact, problem } = useArtifact(id);
  if (!artifact) {
    return (
      <section className={css.viewer} aria-label="A result">
        <button type="button" className={css.close} onClick={onClose}><ArrowLeft size={18} aria-hidden="true" /> Results</button>
        {problem && <Empty title="This result is not there any more">{sentence(problem)}</Empty>}
      </section>
    );
  }
  return <Shown artifact={artifact} onClose={onClose} />;
}

/** A result as it is now: from the gallery, else asked for; gone when it is deleted anywhere. */
function useArtifact(id: string): { artifact?: ArtifactRecord; problem?: ErrorBody } {
  const listed = useGallery(({ artifacts }) => artifacts.find((artifact) => artifact.id === id));
  const { answer, error } = useAsked<{ artifact: ArtifactRecord }>(listed ? null : "artifact", { id });
  const [heard, setHeard] = useState<(ArtifactRecord & { deleted?: boolean }) | null>(null);
  useEffect(
    () => onEvent(({ type, data }) => type === "artifact" && data.id === id && setHeard(data as ArtifactRecord)),
    [id],
  );
  const latest = heard?.id === id ? heard : null;
  if (latest?.deleted) return { problem: { code: "unknown_artifact", message: "It was deleted just now." } };
  return { artifact: listed ?? latest ?? answer?.artifact, problem: error };
}

function Shown({ artifact, onClose }: { artifact: ArtifactRecord; onClose: () => void }) {
  const { id } = artifact;
  const [side, setSide] = useState(() => window.innerWidth > 700);
  const [lineage, setLineage] = useState(false);
  const [sending, setSending] = useState(false);
  const [deleting, setDeleting] = useState(false);
  const { view, setView } = useView();
  const [scale, setScale] = useState(1);
  useGallery(({ artifacts }) => artifacts); // neighbours come and go
  const [before, after] = [neighbour(id, -1), neighbour(id, 1)];
  const go = (to: ArtifactRecord | undefined) => {
    if (!to) return;
    setView(() => FITTED);
    navigate(`/results/${to.id}`, { replace: true });
  };
  const judge = (state: ArtifactRecord["review"]) => {
    void review([id], state);
    if (state !== "new") go(after);
  };
  const toggle = (state: "picked" | "rejected") => void review([id], artifact.review === state ? "new" : state);
  const whole = () => setView((now) => ({ ...now, zoom: (now.zoom / scale) || 1 }));
  const picture = isPicture(artifact);
  const catalogue = useServer((server) => server.catalogue);
  usePreload(before, after);
  useEffect(() => readAhead(id), [id]);
  useKeys(
    {
      escape: ["Back to the gallery", () => (lineage ? setLineage(false) : onClose())],
      arrowleft: ["The one before", () => go(before)],
      arrowright: ["The next one", () => go(after)],
      p: ["Pick, and go on to the next", () => judge("picked")],
      x: ["Reject, and go on to the next", () => judge("rejected")],
      u: ["Neither picked nor rejected", () => judge("new")],
      "+": ["Larger", () => setView(zoomed(STEP))],
      "-": ["Smaller", () => setView(zoomed(1 / STEP))],
      "0": ["Fit", () => setView(() => FITTED)],
      "1": ["One to one", whole],
      "shift+arrowleft": ["Move left", () => setView(moved(-PAN, 0))],
      "shift+arrowright": ["Move right", () => setView(moved(PAN, 0))],
      "shift+arrowup": ["Move up", () => setView(moved(0, -PAN))],
      "shift+arrowdown": ["Move down", () => setView(moved(0, PAN))],
      i: ["Show or hide the details", () => setSide(!side)],
      l: ["Lineage", () => setLineage(!lineage)],
      s: ["Send to another job", () => setSending(true)],
      r: ["Reuse its form", () => void reuseForm(artifact)],
      n: ["Again, with a new seed", () => void again(artifact)],
      d: ["Download", () => void download([artifact])],
      delete: ["Delete", () => setDeleting(true)],
    },
    "A result in full",
  );
  return (
    <section className={css.viewer} aria-label="A result in full">
      <header className={css.bar} role="toolbar" aria-label="What can be done with it">
        <button type="button" className="quiet" onClick={onClose} aria-label="Back to the gallery" title="Back to the gallery (Esc)">
          <ArrowLeft size={20} aria-hidden="true" />
        </button>
        <Verdict icon={ThumbsUp} name="Pick" keys="P" pressed={artifact.review === "picked"} onClick={() => toggle("picked")} />
        <Verdict icon={ThumbsDown} name="Reject" keys="X" pressed={artifact.review === "rejected"} onClick={() => toggle("rejected")} />
        <span className={css.gap} />
        {artifact.job && <Act icon={FilePen} name="Reuse form" keys="R" onClick={() => void reuseForm(artifact)} />}
        {artifact.job && <Act icon={RefreshCw} name="Again" keys="N" onClick={() => void again(artifact)} />}
        {canPaint(artifact, catalogue) && <Act icon={Brush} name="Inpaint" onClick={() => openPainter(artifact)} />}
        <Act icon={Send} name="Send to" keys="S" onClick={() => setSending(true)} />
        <Act icon={GitFork} name="Lineage" keys="L" pressed={lineage} onClick={() => setLineage(!lineage)} />
        {lineage && artifact.job && <Act icon={Waypoints} name="As a flow" onClick={() => openAsFlow(artifact.id)} />}
        {picture ? <DownloadMenu artifact={artifact} /> : <Act icon={Download} name="Download" keys="D" onClick={() => void download([artifact])} />}
        <Act icon={Trash2} name="Delete" onClick={() => setDeleting(true)} danger />
        <span className={css.gap} />
        <Act icon={Info} name="Details" keys="I" pressed={side} onClick={() => setSide(!side)} />
      </header>
      <div className={css.middle}>
        <div className={css.left}>
          {lineage ? (
            <LineageGraph artifact={artifact} onOpen={(to) => navigate(`/results/${to}`)} />
          ) : picture ? (
            <Stage artifact={artifact} view={view} setView={setView} onScale={setScale} onSwipe={(by) => go(by > 0 ? after : before)}>
              <Zoom scale={scale} onFit={() => setView(() => FITTED)} onWhole={whole} onStep={(by) => setView(zoomed(by))} />
            </Stage>
          ) : (
            <Other artifact={artifact} />
          )}
          {!lineage && (
            <>
              <Neighbour side="before" to={before} onGo={go} />
              <Neighbour side="after" to={after} onGo={go} />
            </>
          )}
        </div>
        {side && <Panel artifact={artifact} onClose={() => setSide(false)} />}
      </div>
      {sending && <SendTo artifacts={[artifact]} onClose={() => setSending(false)} />}
      {deleting && (
        <DeleteDialog
          artifacts={[artifact]}
          onClose={(deleted) => {
            setDeleting(false);
            if (deleted) after || before ? go(after ?? before) : onClose();
          }}
        />
      )}
    </section>
  );
}

/** Fetches what one will look at next. */
function usePreload(...soon: (ArtifactRecord | undefined)[]): void {
  const urls = soon.filter((each) => each && isPicture(each)).map((each) => pictureUrl(each!)).join(" ");
  useEffect(() => {
    for (const url of urls.split(" ").filter(Boolean)) new Image().src = url;
  }, [urls]);
}

interface ActProps {
  icon: typeof Send;
  name: string;
  keys?: string;
  pressed?: boolean;
  danger?: boolean;
  onClick: () => void;
}

function Act({ icon: Icon, name, keys, pressed, danger, onClick }: ActProps) {
  return (
    <button type="button" className={danger ? "danger" : undefined} onClick={onClick} aria-pressed={pressed} title={keys ? `${name} (${keys})` : name}>
      <Icon size={17} aria-hidden="true" />
      <span className={css.name}>{name}</span>
    </button>
  );
}

function Verdict({ icon: Icon, name, keys, pressed, onClick }: ActProps) {
  return (
    <button type="button" className={css.verdict} data-verdict={name} aria-pressed={pressed} aria-label={name} title={`${name} (${keys})`} onClick={onClick}>
      <Icon size={18} aria-hidden="true" />
    </button>
  );
}

function DownloadMenu({ artifact }: { artifact: ArtifactRecord }) {
  const label: ReactNode = <><Download size={17} aria-hidden="true" /><span className={css.name}>Download</span></>;
  return (
    <Menu label={label} name="Download">
      <button type="button" onClick={() => void download([artifact])}>Original, {artifact.mime.split("/")[1]?.toUpperCase()}</button>
      <button type="button" onClick={() => void download([artifact], "jpeg")}>As JPEG</button>
      <button type="button" onClick={() => void download([artifact], "webp")}>As WebP</button>
      <button type="button" onClick={() => void copyPicture(artifact)}><Copy size={16} aria-hidden="true" /> Copy the picture</button>
    </Menu>
  );
}

interface ZoomProps {
  scale: number;
  onFit: () => void;
  onWhole: () => void;
  onStep: (by: number) => void;
}

function Zoom({ scale, onFit, onWhole, onStep }: ZoomProps) {
  return (
    <div className={css.zoom} role="group" aria-label="Zoom">
      <button type="button" className="quiet" onClick={() => onStep(1 / STEP)} aria-label="Smaller">−</button>
      <button type="button" className="quiet" onClick={onWhole} title="One to one (1)">{Math.round(scale * 100)}%</button>
      <button type="button" className="quiet" onClick={() => onStep(STEP)} aria-label="Larger">+</button>
      <button type="button" className="quiet" onClick={onFit} title="Fit (0)">Fit</button>
    </div>
  );
}

interface NeighbourProps {
  side: "before" | "after";
  to: ArtifactRecord | undefined;
  onGo: (to: ArtifactRecord) => void;
}

function Neighbour({ side, to, onGo }: NeighbourProps) {
  if (!to) return null;
  const Icon = side === "before" ? ChevronLeft : ChevronRight;
  return (
    <button type="button" className={css.neighbour} data-side={side} onClick={() => onGo(to)} aria-label={side === "before" ? "The one before" : "The next one"}>
      <Icon size={24} aria-hidden="true" />
    </button>
  );
}

/** What is no picture: a text, JSON, a sound, a film. */
export function Other({ artifact }: { artifact: ArtifactRecord }) {
  const { kind, name } = artifact;
  const url = pictureUrl(artifact);
  const { text, problem } = useText(kind === "text" || kind === "json" ? url : null);
  if (kind === "audio") return <div className={css.other}><audio controls preload="metadata" src={url} aria-label={name ?? "Sound"} /></div>;
  if (kind === "video") return <div className={css.other}><video controls loop preload="metadata" src={url} aria-label={name ?? "Film"} /></div>;
  if (problem) return <Empty title="Its bytes are gone from the server" />;
  return <pre className={css.text} tabIndex={0}>{kind === "json" ? pretty(text) : text}</pre>;
}

function pretty(text: string | undefined): string {
  try {
    return JSON.stringify(JSON.parse(text ?? ""), null, 2);
  } catch {
    return text ?? "";
  }
}
