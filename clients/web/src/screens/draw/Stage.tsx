// The picture with its mask, to be painted on, zoomed and moved.

import { Maximize, Minus, Plus } from "lucide-react";
import { useEffect, useLayoutEffect, useRef, useState, type ReactNode } from "react";

import { type Binding, useKeys } from "../../app/keys";
import { type Size, useSize } from "../../ui/useSize";
import { useBrush } from "./brush";
import css from "./Draw.module.css";
import type { Easel } from "./easel";
import { joined, type Area } from "./mask";
import { drawMask, type Look } from "./overlay";
import { useTools } from "./tools";
import { fitted, placed, zoomed, type View } from "./view";

interface Props {
  easel: Easel;
  /** Whether there is something to paint; else it is only looked at. */
  paints: boolean;
  hidesMask: boolean;
  look: Look;
  /** What is fitted into the window, and the room around it; anew when `fits` changes. */
  area: Area;
  margin: number;
  fits: string;
  onPaint: () => void;
  /** What lies over the picture. */
  children: (view: View) => ReactNode;
}

export function Stage({ easel, paints, hidesMask, look, area, margin, fits, onPaint, children }: Props) {
  const stage = useRef<HTMLDivElement>(null);
  const { view, setView, size, fit } = useView(stage, area, margin, fits);
  const { picture, overlay } = useCanvases(easel, view, size, look, hidesMask);
  const tool = useTools((tools) => tools.tool);
  const brush = useBrush({ stage, easel, view, setView, paints, onPaint });
  const middle = { x: size.width / 2, y: size.height / 2 };
  const zoom = (factor: number) => setView((now) => now && zoomed(now, factor, middle));
  const actual = () => view && zoom(1 / (view.scale * devicePixelRatio));
  const zoomKeys = {
    0: ["Fit into the window", fit], 1: ["Actual size", actual], "+": ["Zoom in", () => zoom(1.25)], "-": ["Zoom out", () => zoom(0.8)],
  } satisfies Record<string, Binding>;
  useKeys(zoomKeys, "Draw");
  const { width, height } = easel.bitmap;
  return (
    <div
      ref={stage}
      className={css.stage}
      data-tool={paints ? tool : "none"}
      data-pans={brush.pans || undefined}
      role="application"
      tabIndex={0}
      aria-label={paints ? `Picture of ${width} by ${height} pixels, to be painted on` : `Picture of ${width} by ${height} pixels`}
      aria-describedby="stage-help"
      {...brush.handlers}
    >
      <p id="stage-help" className="hidden-text">
        Arrow keys move the brush, with Shift by ten times as much. Enter or the space bar paints there, Alt and an arrow key paints a line.
      </p>
      {view && <div className={css.ground} data-layer="ground" style={placed(area, view)} />}
      <canvas ref={picture} className={css.layer} />
      <canvas ref={overlay} className={css.layer} data-layer="mask" hidden={hidesMask} />
      {view && children(view)}
      {brush.shape}
      {paints && <div ref={brush.cursor} className={css.cursor} data-tool={tool} aria-hidden="true" />}
      <p className="hidden-text" role="status">{brush.said}</p>
      {view && (
        <div className={css.zoom} role="group" aria-label="Zoom" onPointerDown={(event) => event.stopPropagation()}>
          <button type="button" className="quiet" onClick={() => zoom(0.8)} aria-label="Zoom out" title="Zoom out (−)"><Minus size={16} aria-hidden="true" /></button>
          <button type="button" className="quiet" onClick={actual} title="Actual size (1)" aria-label={`Zoom is ${percent(view)}: show actual size`}>{percent(view)}</button>
          <button type="button" className="quiet" onClick={() => zoom(1.25)} aria-label="Zoom in" title="Zoom in (+)"><Plus size={16} aria-hidden="true" /></button>
          <button type="button" className="quiet" onClick={fit} aria-label="Fit into the window" title="Fit into the window (0)"><Maximize size={16} aria-hidden="true" /></button>
        </div>
      )}
    </div>
  );
}

const percent = ({ scale }: View): string => `${Math.round(scale * devicePixelRatio * 100)} %`;

/** Where the picture lies. It stays fitted while the window changes, until somebody zooms or moves it. */
function useView(stage: React.RefObject<HTMLDivElement | null>, area: Area, margin: number, fits: string) {
  const size = useSize(stage);
  const [chosen, setChosen] = useState<{ view: View; fits: string } | null>(null);
  const [home, setHome] = useState(area);
  const known = useRef(fits);
  if (known.current !== fits) {
    known.current = fits;
    setHome(area);
  }
  const isChosen = chosen?.fits === fits;
  const view = isChosen ? chosen.view : size.width ? fitted(home, size, Math.min(margin, size.width / 4, size.height / 4)) : null;
  const latest = useRef(view);
  latest.current = view;
  const setView = (change: (now: View | null) => View | null) => {
    const next = change(latest.current);
    if (!next) return;
    latest.current = next; // several events may come before the next frame
    setChosen({ view: next, fits });
  };
  const fit = () => {
    setHome(area);
    setChosen(null);
  };
  useEffect(() => {
    const element = stage.current!;
    const wheel = (event: WheelEvent) => {
      event.preventDefault();
      const box = element.getBoundingClientRect();
      const at = { x: event.clientX - box.left, y: event.clientY - box.top };
      const speed = event.ctrlKey ? 0.01 : event.deltaMode ? 0.05 : 0.0015; // a pinch on a pad comes as small steps with Ctrl
      setView((now) => now && zoomed(now, Math.exp(-event.deltaY * speed), at));
    };
    element.addEventListener("wheel", wheel, { passive: false });
    return () => element.removeEventListener("wheel", wheel);
  });
  return { view, setView, size, fit };
}

/** Draws picture and mask whenever they or the view change; while one paints, only what a stroke has touched. */
function useCanvases(easel: Easel, view: View | null, size: Size, look: Look, hidesMask: boolean) {
  const picture = useRef<HTMLCanvasElement>(null);
  const overlay = useRef<HTMLCanvasElement>(null);
  const ratio = devicePixelRatio;
  const [wide, high] = [Math.round(size.width * ratio), Math.round(size.height * ratio)];
  const onCanvas = view && { scale: view.scale * ratio, x: view.x * ratio, y: view.y * ratio };
  const { scale, x, y } = onCanvas ?? { scale: 0, x: 0, y: 0 };
  const { bitmap, mask } = easel;

  useLayoutEffect(() => {
    const canvas = picture.current!;
    if (!scale) return;
    if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
    const context = canvas.getContext("2d")!;
    context.clearRect(0, 0, wide, high);
    context.imageSmoothingEnabled = scale < 8; // single pixels are to be seen
    context.imageSmoothingQuality = "medium";
    const [left, top] = [Math.max(0, -x / scale), Math.max(0, -y / scale)];
    const [right, bottom] = [Math.min(bitmap.width, (wide - x) / scale), Math.min(bitmap.height, (high - y) / scale)];
    if (right <= left || bottom <= top) return;
    const [partWide, partHigh] = [right - left, bottom - top];
    context.drawImage(bitmap, left, top, partWide, partHigh, left * scale + x, top * scale + y, partWide * scale, partHigh * scale);
  }, [bitmap, scale, x, y, wide, high]);

  const [red, green, blue] = look.color;
  useLayoutEffect(() => {
    const canvas = overlay.current!;
    if (!scale || hidesMask) return;
    if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
    const draw = (area: Area) => drawMask(canvas, mask, { scale, x, y }, area, look);
    draw({ left: 0, top: 0, right: wide, bottom: high });
    let [frame, dirty] = [0, null as Area | null];
    mask.onChange = (changed) => {
      dirty = dirty ? joined(dirty, changed) : changed;
      frame ||= requestAnimationFrame(() => {
        const reach = 3 * look.blur * scale + 20; // as far as the blur's kernel and its coarse steps
        draw({
          left: Math.max(0, Math.floor(dirty!.left * scale + x - reach)), top: Math.max(0, Math.floor(dirty!.top * scale + y - reach)),
          right: Math.min(wide, Math.ceil(dirty!.right * scale + x + reach)), bottom: Math.min(high, Math.ceil(dirty!.bottom * scale + y + reach)),
        });
        [frame, dirty] = [0, null];
      });
    };
    return () => {
      cancelAnimationFrame(frame);
      mask.onChange = () => undefined;
    };
  }, [mask, scale, x, y, wide, high, look.blur, look.inverted, red, green, blue, hidesMask]);

  return { picture, overlay };
}

