// The frame around a picture whose edges and corners are dragged to where it shall grow.

import { useRef, type KeyboardEvent, type PointerEvent } from "react";

import css from "./Draw.module.css";
import { snapped, type Growth, type PaintJob, type Side } from "./jobs";
import type { View } from "./view";

interface Props {
  of: PaintJob;
  view: View;
  width: number;
  height: number;
  growth: Growth;
  onChange: (change: Partial<Growth>) => void;
}

const CORNERS: Side[][] = [["left", "up"], ["right", "up"], ["left", "down"], ["right", "down"]];
/** Which key and which way of the pointer make more of a side. */
const OUTWARDS: Record<Side, { more: string; less: string; x: number; y: number }> = {
  left: { more: "ArrowLeft", less: "ArrowRight", x: -1, y: 0 },
  right: { more: "ArrowRight", less: "ArrowLeft", x: 1, y: 0 },
  up: { more: "ArrowUp", less: "ArrowDown", x: 0, y: -1 },
  down: { more: "ArrowDown", less: "ArrowUp", x: 0, y: 1 },
};

export function Frame({ of, view, width, height, growth, onChange }: Props) {
  const { scale, x, y } = view;
  const box = {
    left: x - growth.left * scale, top: y - growth.up * scale,
    width: (width + growth.left + growth.right) * scale, height: (height + growth.up + growth.down) * scale,
  };
  const has = (side: Side) => of.sides[side] !== undefined;
  const grow = (side: Side, pixels: number) => onChange({ [side]: snapped(of, side, pixels) });
  const keys = (side: Side) => (event: KeyboardEvent) => {
    const { more, less } = OUTWARDS[side];
    const step = (snapped(of, side, 1e-6) || of.job.params.properties?.[of.sides[side]!]?.multipleOf || 1) * (event.shiftKey ? 8 : 1);
    if (event.key === more) grow(side, growth[side] + step);
    else if (event.key === less) grow(side, growth[side] - step);
    else if (event.key === "Home") grow(side, 0);
    else return;
    event.preventDefault();
  };
  const sides = (Object.keys(OUTWARDS) as Side[]).filter(has);
  return (
    <div className={css.frame} style={box} role="group" aria-label="Frame: drag its edges to where the picture shall grow">
      {sides.map((side) => (
        <Handle key={side} sides={[side]} growth={growth} scale={scale} grow={grow}>
          <button
            type="button"
            role="slider"
            className={css.handle}
            data-side={side}
            aria-label={`Pixels added ${["left", "right"].includes(side) ? "at the " : ""}${side}`}
            aria-orientation={["left", "right"].includes(side) ? "horizontal" : "vertical"}
            aria-valuenow={growth[side]}
            aria-valuemin={0}
            aria-valuemax={snapped(of, side, Infinity)}
            aria-valuetext={`${growth[side]} pixels`}
            onKeyDown={keys(side)}
          />
        </Handle>
      ))}
      {CORNERS.filter((corner) => corner.every(has)).map((corner) => (
        <Handle key={corner.join()} sides={corner} growth={growth} scale={scale} grow={grow}>
          <div className={css.corner} data-side={corner.join(" ")} />
        </Handle>
      ))}
      <output className={css.size}>
        {width + growth.left + growth.right} × {height + growth.up + growth.down}
      </output>
    </div>
  );
}

interface HandleProps {
  sides: Side[];
  growth: Growth;
  scale: number;
  grow: (side: Side, pixels: number) => void;
  children: React.ReactNode;
}

function Handle({ sides, growth, scale, grow, children }: HandleProps) {
  const drag = useRef<{ x: number; y: number; growth: Growth } | null>(null);
  const down = (event: PointerEvent<HTMLDivElement>) => {
    event.stopPropagation();
    event.currentTarget.setPointerCapture(event.pointerId);
    drag.current = { x: event.clientX, y: event.clientY, growth };
  };
  const move = (event: PointerEvent) => {
    if (!drag.current) return;
    event.stopPropagation();
    const [dx, dy] = [(event.clientX - drag.current.x) / scale, (event.clientY - drag.current.y) / scale];
    for (const side of sides) grow(side, drag.current.growth[side] + OUTWARDS[side].x * dx + OUTWARDS[side].y * dy);
  };
  return (
    <div
      className={css.grip}
      data-side={sides.join(" ")}
      onPointerDown={down}
      onPointerMove={move}
      onPointerUp={() => (drag.current = null)}
      onPointerCancel={() => (drag.current = null)}
    >
      {children}
    </div>
  );
}
