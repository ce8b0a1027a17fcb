// One result in the gallery.

import { Check, FileAudio, FileJson, FileText, FileVideo, ImageOff, ThumbsDown, ThumbsUp } from "lucide-react";
import { memo, type MouseEvent, useRef, useState } from "react";

import type { ArtifactRecord } from "../../server/types";
import { isPicture, pictureUrl, thumbnailUrl } from "../../ui/pictures";
import { review } from "./actions";
import { activate, hasJustCome, selectTo, toggle, useGallery } from "./gallery";
import css from "./Gallery.module.css";
import { aboutOf } from "./words";
import { useText } from "./text";

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
  /** Without its picture: it will be gone before that is there. */
  bare: boolean;
  onOpen: (id: string) => void;
}

export const Tile = memo(function Tile(props: Props) {
  const { artifact, left, width, height, place, count, isActive, isSelected, bare, onOpen } = props;
  const { id, facts } = artifact;
  const press = useLongPress(() => toggle(id));
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
      aria-label={aboutOf(artifact)}
      aria-posinset={place}
      aria-setsize={count}
      title={artifact.name ?? undefined}
      data-active={isActive || undefined}
      data-review={artifact.review}
      style={{ left, width, height }}
      onClick={act}
      {...press.handlers}
    >
      {isPicture(artifact) ? <Thumbnail artifact={artifact} width={width} height={height} bare={bare} /> : <Other artifact={artifact} />}
      <div className={css.marks}>
        {facts.partial && <span className={`${css.mark} ${css.word}`}>partial</span>}
        {artifact.review === "picked" && <span className={css.mark} data-mark="picked"><ThumbsUp size={14} /></span>}
        {artifact.review === "rejected" && <span className={css.mark}><ThumbsDown size={14} /></span>}
      </div>
      <Handles artifact={artifact} />
    </div>
  );
});

/** For the mouse alone: keys do the same. */
function Handles({ artifact: { id, review: state } }: { artifact: ArtifactRecord }) {
  const on = (action: () => void) => (event: MouseEvent) => {
    event.stopPropagation();
    action();
  };
  const say = (verdict: "picked" | "rejected") => on(() => void review([id], state === verdict ? "new" : verdict));
  return (
    <>
      <div className={css.check} aria-hidden="true" onClick={on(() => toggle(id))}><span><Check size={16} /></span></div>
      <div className={css.verdicts} aria-hidden="true">
        <span onClick={say("picked")} title="Pick (P)"><ThumbsUp size={14} /></span>
        <span onClick={say("rejected")} title="Reject (X)"><ThumbsDown size={14} /></span>
      </div>
    </>
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
      onPointerLeave: end,
      onContextMenu: (event: MouseEvent) => long.current && event.preventDefault(),
    },
  };
}
