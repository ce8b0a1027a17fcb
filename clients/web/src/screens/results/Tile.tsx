// One result in the gallery.

import { Check, FileAudio, FileJson, FileText, FileVideo, ImageOff, ThumbsDown, ThumbsUp } from "lucide-react";
import { memo, type MouseEvent, useRef, useState } from "react";

import type { ArtifactRecord } from "../../server/types";
import { isPicture, pictureUrl, thumbnailUrl } from "../../ui/pictures";
import { review } from "../../app/results";
import { activate, hasJustCome, selectTo, toggle, useGallery } from "./gallery";
import css from "./Gallery.module.css";
import { aboutOf } from "./words";
import { useText } from "../../ui/text";

const STEPS = [192, 384, 768]; // sizes of thumbnails, few, so that they are found again
const LONG_PRESS_MS = 450;
const ICONS = { text: FileText, json: FileJson, audio: FileAudio, video: FileVideo };
const SHORT = 600; // characters of a text that a tile shows

interface Props {
  artifact: ArtifactRecord;
  left: number;
  width: number;
  height: number;
  place: number;
  count: number;
  isActive: boolean;
  isSelected: boolean;
  /** Whether a click selects: then that shows. */
  isSelecting: boolean;
  /** Without its picture: it will be gone before that is there. */
  bare: boolean;
  onOpen: (id: string) => void;
}

export const Tile = memo(function Tile(props: Props) {
  const { artifact, left, width, height, place, count, isActive, isSelected, isSelecting, bare, onOpen } = props;
  const { id, facts } = artifact;
  const press = useLongPress(() => toggle(id));
  const [hovered, setHovered] = useState(false);
  const act = (event: MouseEvent) => {
    if (press.wasLong()) return;
    if (event.shiftKey) selectTo(id);
    else if (event.ctrlKey || event.metaKey || useGallery.getState().selected.size) toggle(id);
    else {
      activate(id);
      onOpen(id);
    }
  };
  return (
    <div
      id={`tile-${id}`}
      className={hasJustCome(id) ? `${css.tile} ${css.arriving}` : css.tile}
      role="option"
      aria-selected={isSelected}
      aria-label={isPicture(artifact) ? aboutOf(artifact) : undefined} // others say in words what they are
      aria-posinset={place}
      aria-setsize={count}
      title={artifact.name ?? undefined}
      data-active={isActive || undefined}
      data-review={artifact.review}
      style={{ left, width, height }}
      onClick={act}
      onPointerEnter={({ pointerType }) => setHovered(pointerType === "mouse")}
      {...press.handlers}
      onPointerLeave={() => {
        setHovered(false);
        press.handlers.onPointerCancel();
      }}
    >
      {isPicture(artifact) ? <Thumbnail artifact={artifact} width={width} height={height} bare={bare} /> : <Other artifact={artifact} />}
      {(facts.partial || artifact.review !== "new") && <Marks artifact={artifact} />}
      {(hovered || isSelecting) && <Handle id={id} />}
      {hovered && <Verdicts artifact={artifact} />}
    </div>
  );
});

function Marks({ artifact: { facts, review: state } }: { artifact: ArtifactRecord }) {
  return (
    <div className={css.marks}>
      {facts.partial && <span className={`${css.mark} ${css.word}`}>partial</span>}
      {state === "picked" && <span className={css.mark} data-mark="picked"><ThumbsUp size={14} /></span>}
      {state === "rejected" && <span className={css.mark}><ThumbsDown size={14} /></span>}
    </div>
  );
}

// These are for the mouse alone, keys do the same; and there only under it, for thousands of tiles pass by.

const on = (action: () => void) => (event: MouseEvent) => {
  event.stopPropagation();
  action();
};

function Handle({ id }: { id: string }) {
  return <div className={css.check} aria-hidden="true" onClick={on(() => toggle(id))}><span><Check size={16} /></span></div>;
}

function Verdicts({ artifact: { id, review: state } }: { artifact: ArtifactRecord }) {
  const say = (verdict: "picked" | "rejected") => on(() => void review([id], state === verdict ? "new" : verdict));
  return (
    <div className={css.verdicts} aria-hidden="true">
      <span onClick={say("picked")} title="Pick (P)"><ThumbsUp size={14} /></span>
      <span onClick={say("rejected")} title="Reject (X)"><ThumbsDown size={14} /></span>
    </div>
  );
}

function Thumbnail({ artifact, width, height, bare }: { artifact: ArtifactRecord; width: number; height: number; bare: boolean }) {
  const [gone, setGone] = useState(false);
  const [loaded, setLoaded] = useState(false);
  const wanted = Math.max(width, height) * Math.min(2, devicePixelRatio);
  const size = STEPS.find((step) => step >= wanted * 0.9) ?? STEPS[STEPS.length - 1];
  if (gone) return <Gone />;
  if (bare && !loaded) return <div />;
  return (
    <img
      src={thumbnailUrl(artifact, size)}
      alt=""
      width={artifact.facts.width}
      height={artifact.facts.height}
      loading="lazy"
      decoding="async"
      draggable={false}
      onLoad={() => setLoaded(true)}
      onError={() => setGone(true)}
    />
  );
}

function Gone() {
  return (
    <div className={css.other}>
      <ImageOff size={24} aria-hidden="true" />
      <span>Its bytes are gone from the server.</span>
    </div>
  );
}

function Other({ artifact }: { artifact: ArtifactRecord }) {
  const readable = artifact.kind === "text" || artifact.kind === "json";
  const text = useText(readable ? pictureUrl(artifact) : null, SHORT);
  const Icon = ICONS[artifact.kind as keyof typeof ICONS] ?? FileText;
  return (
    <div className={css.other}>
      <b><Icon size={16} aria-hidden="true" /> {artifact.name ?? artifact.kind}</b>
      {readable ? <p>{text.text ?? text.problem ?? ""}</p> : <Icon size={40} aria-hidden="true" />}
    </div>
  );
}

/** A finger that rests selects. */
function useLongPress(action: () => void) {
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const long = useRef(false);
  const end = () => clearTimeout(timer.current);
  return {
    wasLong: () => long.current,
    handlers: {
      onPointerDown: ({ pointerType }: { pointerType: string }) => {
        long.current = false;
        if (pointerType === "mouse") return;
        timer.current = setTimeout(() => {
          long.current = true;
          action();
        }, LONG_PRESS_MS);
      },
      onPointerUp: end,
      onPointerCancel: end,
      onContextMenu: (event: MouseEvent) => long.current && event.preventDefault(),
    },
  };
}
