// A picture that one zooms and moves: by wheel, pinch, drag and double click; a swipe goes on to the next.

import { ImageOff } from "lucide-react";
import { type ReactNode, useEffect, useRef, useState } from "react";

import type { ArtifactRecord } from "../../server/types";
import { Empty } from "../../ui/Empty";
import { pictureUrl, thumbnailUrl } from "../../ui/pictures";
import { useSize } from "../../ui/useSize";
import css from "./Stage.module.css";
import { aboutOf } from "./words";
import { FITTED, moved, type Viewing, zoomed } from "./view";

const LARGEST_FIT = 4; // times; small pictures are not blown up more than that
const SWIPE = 60; // pixels
const SHARP = 2; // from this enlargement on, pixels show as squares
const WHEEL = 0.0016;

interface Props extends Viewing {
  artifact: ArtifactRecord;
  /** Of this size it is shown, for comparison with a larger one. */
  like?: { width?: number; height?: number };
  onSwipe?: (by: 1 | -1) => void;
  /** Told how many screen pixels a picture's pixel has. */
  onScale?: (scale: number) => void;
  children?: ReactNode;
}

export function Stage({ artifact, like = artifact.facts, view, setView, onSwipe, onScale, children }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const { width, height } = useSize(box);
  const bytes = `${artifact.id} ${artifact.sha256}`;
  const [loaded, setLoaded] = useState("");
  const [gone, setGone] = useState("");
  const [w, h] = [like.width ?? 512, like.height ?? 512];
  const fit = width ? Math.min(width / w, height / h, LARGEST_FIT) : 0;
  const scale = fit * view.zoom;
  useEffect(() => void (scale && onScale?.(scale)), [scale]);
  const [shownW, shownH] = [w * scale, h * scale];
  const gestures = useGestures({ box, view, setView, shownW, shownH, fit, onSwipe });
  const missing = gone === bytes;
  return (
    <div ref={box} className={css.stage} data-zoomed={view.zoom > 1 || undefined} {...gestures}>
      {missing && <Empty title="Its bytes are gone from the server"><ImageOff size={32} aria-hidden="true" /></Empty>}
      <div
        className={css.picture}
        hidden={missing}
        style={{
          width: shownW, height: shownH,
          transform: `translate(${width / 2 - view.x * shownW}px, ${height / 2 - view.y * shownH}px)`,
        }}
      >
        {loaded !== bytes && <img src={thumbnailUrl(artifact, 768)} alt="" draggable={false} />}
        <img
          key={bytes}
          className={scale >= SHARP ? css.sharp : undefined}
          src={pictureUrl(artifact)}
          alt={aboutOf(artifact)}
          draggable={false}
          onLoad={() => setLoaded(bytes)}
          onError={() => setGone(bytes)}
        />
      </div>
      {children}
    </div>
  );
}

interface Gesture extends Viewing {
  box: React.RefObject<HTMLDivElement | null>;
  shownW: number;
  shownH: number;
  fit: number;
  onSwipe?: (by: 1 | -1) => void;
}

function useGestures(gesture: Gesture) {
  const latest = useRef(gesture);
  latest.current = gesture;
  const fingers = useRef(new Map<number, { x: number; y: number }>());
  const begun = useRef<{ x: number; y: number } | null>(null);

  /** A point of the window as parts of the picture. */
  const partsAt = (x: number, y: number) => {
    const { box, view, shownW, shownH } = latest.current;
    const { left, top, width, height } = box.current!.getBoundingClientRect();
    return { x: view.x + (x - left - width / 2) / shownW, y: view.y + (y - top - height / 2) / shownH };
  };

  useEffect(() => {
    const element = latest.current.box.current;
    const wheel = (event: WheelEvent) => {
      event.preventDefault(); // else a pinch zooms the page
      const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 20 : 1;
      const speed = event.ctrlKey ? 6 : 1; // a pinch on a pad comes as small steps with ctrl
      latest.current.setView(zoomed(Math.exp(-event.deltaY * lines * WHEEL * speed), partsAt(event.clientX, event.clientY)));
    };
    element?.addEventListener("wheel", wheel, { passive: false });
    return () => element?.removeEventListener("wheel", wheel);
  }, []);

  const onPointerDown = (event: React.PointerEvent<HTMLDivElement>) => {
    if (event.button !== 0 || (event.target as Element).closest("button, input")) return;
    event.currentTarget.setPointerCapture(event.pointerId);
    fingers.current.set(event.pointerId, { x: event.clientX, y: event.clientY });
    begun.current = fingers.current.size === 1 ? { x: event.clientX, y: event.clientY } : null;
  };

  const onPointerMove = (event: React.PointerEvent) => {
    const before = fingers.current.get(event.pointerId);
    if (!before) return;
    const { view, setView, shownW, shownH } = latest.current;
    const here = { x: event.clientX, y: event.clientY };
    const other = [...fingers.current].find(([id]) => id !== event.pointerId)?.[1];
    fingers.current.set(event.pointerId, here);
    if (other) {
      const [was, is] = [before, here].map((each) => Math.hypot(each.x - other.x, each.y - other.y));
      setView(zoomed(is / Math.max(1, was), partsAt((here.x + other.x) / 2, (here.y + other.y) / 2)));
    } else if (view.zoom > 1) {
      setView(moved((before.x - here.x) / shownW, (before.y - here.y) / shownH));
    }
  };

  const onPointerUp = (event: React.PointerEvent) => {
    const from = begun.current;
    fingers.current.delete(event.pointerId);
    if (!fingers.current.size) begun.current = null;
    if (!from || latest.current.view.zoom > 1 || event.pointerType === "mouse") return;
    const [dx, dy] = [event.clientX - from.x, event.clientY - from.y];
    if (Math.abs(dx) > SWIPE && Math.abs(dx) > 2 * Math.abs(dy)) latest.current.onSwipe?.(dx < 0 ? 1 : -1);
  };

  const onPointerCancel = (event: React.PointerEvent) => void fingers.current.delete(event.pointerId);

  const onDoubleClick = (event: React.MouseEvent) => {
    const { view, setView, fit } = latest.current;
    const at = partsAt(event.clientX, event.clientY);
    setView(view.zoom === 1 ? zoomed(Math.max(1 / fit, 2), at) : () => FITTED);
  };

  return { onPointerDown, onPointerMove, onPointerUp, onPointerCancel, onDoubleClick };
}
