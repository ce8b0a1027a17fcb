// What pointers and keys do on the stage: paint, draw shapes, move and zoom.

import { useEffect, useRef, useState, type KeyboardEvent, type MouseEvent, type PointerEvent, type RefObject } from "react";

import { isTyping } from "../../app/keys";
import css from "./Draw.module.css";
import type { Easel } from "./easel";
import type { Point } from "./mask";
import { useTools } from "./tools";
import { toPicture, toScreen, zoomed, type View } from "./view";

interface Options {
  stage: RefObject<HTMLDivElement | null>;
  easel: Easel;
  view: View | null;
  setView: (change: (now: View | null) => View | null) => void;
  paints: boolean;
  onPaint: () => void;
}

type Doing =
  | { what: "stroke"; last: Point; radius: number }
  | { what: "shape"; points: Point[] }
  | { what: "pan"; last: Point }
  | { what: "pinch" };

const [ERASER_OF_PEN, RIGHT, MIDDLE] = [32, 2, 1];
const ARROWS: Record<string, Point> = {
  ArrowLeft: { x: -1, y: 0 }, ArrowRight: { x: 1, y: 0 }, ArrowUp: { x: 0, y: -1 }, ArrowDown: { x: 0, y: 1 },
};

export function useBrush({ stage, easel, view, setView, paints, onPaint }: Options) {
  const { mask, bitmap } = easel;
  const { tool, share, softness } = useTools();
  const size = share * Math.min(bitmap.width, bitmap.height);
  const cursor = useRef<HTMLDivElement>(null);
  const pointers = useRef(new Map<number, Point>());
  const doing = useRef<Doing | null>(null);
  const lastPoint = useRef<Point | null>(null); // where the stroke before has ended
  const hover = useRef<Point | null>(null); // the cursor, in pixels of the picture
  const [shape, setShape] = useState<Point[] | null>(null);
  const [said, say] = useState("");
  const space = useSpace();

  const at = ({ clientX, clientY }: { clientX: number; clientY: number }): Point => {
    const box = stage.current!.getBoundingClientRect();
    return { x: clientX - box.left, y: clientY - box.top };
  };

  const showCursor = () => {
    const circle = cursor.current;
    if (!circle || !view) return;
    circle.hidden = !hover.current;
    if (!hover.current) return;
    const where = toScreen(view, hover.current);
    const across = isShape(tool) ? 0 : Math.max(size * view.scale, 2);
    Object.assign(circle.style, { width: `${across}px`, height: `${across}px`, transform: `translate(${where.x - across / 2}px, ${where.y - across / 2}px)` });
  };
  useEffect(showCursor);

  const radiusOf = (event: { pointerType: string; pressure: number }): number =>
    Math.max((size / 2) * (event.pointerType === "pen" && event.pressure ? event.pressure : 1), 0.5);

  const onPointerDown = (event: PointerEvent) => {
    if (!view || (event.target as Element).closest("button, input")) return;
    stage.current!.setPointerCapture(event.pointerId);
    pointers.current.set(event.pointerId, at(event));
    if (pointers.current.size === 2) {
      mask.abort(); // the first finger was no stroke
      setShape(null);
      doing.current = { what: "pinch" };
      return;
    }
    const moves = event.button === MIDDLE || space.isDown() || !paints;
    if (moves) {
      space.used();
      doing.current = { what: "pan", last: at(event) };
      return;
    }
    onPaint();
    const point = toPicture(view, at(event));
    if (isShape(tool)) {
      doing.current = { what: "shape", points: [point] };
      return;
    }
    const erase = tool === "eraser" || event.button === RIGHT || Boolean(event.buttons & ERASER_OF_PEN);
    const radius = radiusOf(event);
    mask.begin(erase);
    mask.line((event.shiftKey && lastPoint.current) || point, point, radius, radius, softness);
    doing.current = { what: "stroke", last: point, radius };
  };

  const onPointerMove = (event: PointerEvent) => {
    if (!view) return;
    const before = pointers.current.get(event.pointerId);
    hover.current = toPicture(view, at(event));
    if (event.pointerType !== "touch") showCursor();
    if (!before) return;
    const now = at(event);
    const state = doing.current;
    if (state?.what === "pinch") {
      const other = [...pointers.current].find(([id]) => id !== event.pointerId)?.[1];
      if (other) setView((old) => old && pinched(old, other, before, now));
    } else if (state?.what === "pan") {
      const { last } = state;
      setView((old) => old && { ...old, x: old.x + now.x - last.x, y: old.y + now.y - last.y });
      state.last = now;
    } else if (state?.what === "stroke") {
      const passed = event.nativeEvent.getCoalescedEvents?.() ?? [];
      for (const each of passed.length ? passed : [event.nativeEvent]) {
        const [point, radius] = [toPicture(view, at(each)), radiusOf(each)];
        mask.line(state.last, point, state.radius, radius, softness);
        Object.assign(state, { last: point, radius });
      }
    } else if (state?.what === "shape") {
      const point = toPicture(view, now);
      state.points = tool === "rectangle" ? [state.points[0], point] : [...state.points, point];
      setShape(state.points);
    }
    pointers.current.set(event.pointerId, now);
  };

  const onPointerUp = (event: PointerEvent) => {
    const state = doing.current;
    pointers.current.delete(event.pointerId);
    if (state?.what === "pinch" && pointers.current.size) return; // until the other finger is up, too
    doing.current = null;
    setShape(null);
    if (state?.what === "stroke") {
      mask.end();
      lastPoint.current = state.last;
    }
    if (state?.what === "shape" && state.points.length > 1) {
      const erase = event.altKey || event.button === RIGHT;
      if (tool === "rectangle") mask.rectangle(state.points[0], state.points[1], erase);
      else mask.lasso(state.points, erase);
    }
  };

  const dab = (from: Point, to: Point) => {
    onPaint();
    mask.begin(tool === "eraser");
    mask.line(from, to, size / 2, size / 2, softness);
    mask.end();
    lastPoint.current = to;
    say(`${tool === "eraser" ? "Erased" : "Painted"} at ${Math.round(to.x)}, ${Math.round(to.y)}.`);
  };

  const onKeyDown = (event: KeyboardEvent) => {
    if (!view || event.target !== stage.current || event.ctrlKey || event.metaKey) return;
    const arrow = ARROWS[event.key];
    const here = hover.current ?? { x: bitmap.width / 2, y: bitmap.height / 2 };
    if (arrow) {
      const step = event.shiftKey ? Math.max(size, 10) : Math.max(size / 10, 1);
      const next = {
        x: Math.min(Math.max(here.x + arrow.x * step, 0), bitmap.width), y: Math.min(Math.max(here.y + arrow.y * step, 0), bitmap.height),
      };
      hover.current = next;
      showCursor();
      if (event.altKey && paints) dab(here, next);
      else say(`${Math.round(next.x)}, ${Math.round(next.y)}`);
      event.preventDefault();
    }
    if (event.key === "Enter" && paints) {
      hover.current = here;
      showCursor();
      dab(here, here);
    }
  };

  const onKeyUp = (event: KeyboardEvent) => {
    if (event.key !== " " || event.target !== stage.current || !paints || space.wasUsed()) return;
    const here = hover.current ?? { x: bitmap.width / 2, y: bitmap.height / 2 };
    dab(here, here);
  };

  return {
    cursor,
    said,
    pans: space.pressed || undefined,
    shape: shape && view && <Outline points={shape.map((point) => toScreen(view, point))} isRectangle={tool === "rectangle"} />,
    handlers: {
      onPointerDown,
      onMouseDown: (event: MouseEvent) => event.button === MIDDLE && event.preventDefault(), // which would scroll by itself
      onPointerMove,
      onPointerUp,
      onPointerCancel: onPointerUp,
      onPointerLeave: () => {
        if (doing.current) return;
        hover.current = null;
        showCursor();
      },
      onKeyDown,
      onKeyUp,
      onContextMenu: (event: { preventDefault: () => void }) => event.preventDefault(), // the right button erases
    },
  };
}

const isShape = (tool: string): boolean => tool === "rectangle" || tool === "lasso";

/** The view after one of two fingers has moved: what is between them stays there. */
function pinched(view: View, other: Point, before: Point, now: Point): View {
  const middle = (a: Point) => ({ x: (a.x + other.x) / 2, y: (a.y + other.y) / 2 });
  const apart = (a: Point) => Math.max(Math.hypot(a.x - other.x, a.y - other.y), 10);
  const [from, to] = [middle(before), middle(now)];
  return zoomed({ ...view, x: view.x + to.x - from.x, y: view.y + to.y - from.y }, apart(now) / apart(before), to);
}

/** Whether the space bar is down, and whether something was moved with it: else it paints. */
function useSpace() {
  const [pressed, setPressed] = useState(false);
  const state = useRef({ down: false, used: false });
  useEffect(() => {
    const key = (event: globalThis.KeyboardEvent) => {
      const onControl = event.target instanceof Element && event.target.closest("button, a, [role=slider], summary");
      if (event.key !== " " || isTyping(event.target) || onControl) return;
      event.preventDefault();
      const down = event.type === "keydown";
      if (down && !event.repeat) state.current.used = false;
      state.current.down = down;
      setPressed(down);
    };
    const away = () => {
      state.current.down = false;
      setPressed(false);
    };
    window.addEventListener("keydown", key);
    window.addEventListener("keyup", key);
    window.addEventListener("blur", away);
    return () => {
      window.removeEventListener("keydown", key);
      window.removeEventListener("keyup", key);
      window.removeEventListener("blur", away);
    };
  }, []);
  return {
    pressed,
    isDown: () => state.current.down,
    used: () => (state.current.used = true),
    wasUsed: () => state.current.used,
  };
}

function Outline({ points, isRectangle }: { points: Point[]; isRectangle: boolean }) {
  const [a, b] = [points[0], points[points.length - 1]];
  const line = isRectangle ? [a, { x: b.x, y: a.y }, b, { x: a.x, y: b.y }] : points;
  const text = line.map(({ x, y }) => `${x},${y}`).join(" ");
  return (
    <svg className={css.layer} aria-hidden="true">
      <polygon points={text} className={css.outlineDark} />
      <polygon points={text} className={css.outlineLight} />
    </svg>
  );
}
