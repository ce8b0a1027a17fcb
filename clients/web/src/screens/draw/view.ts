// Where on the screen a picture lies: zoom and pan.

import type { Size } from "../../ui/useSize";
import type { Area, Point } from "./mask";

/** A pixel of the picture at p is shown at p * scale + (x, y), in CSS pixels. */
export interface View {
  scale: number;
  x: number;
  y: number;
}

const [SMALLEST, LARGEST] = [0.02, 32];

export const toPicture = ({ scale, x, y }: View, at: Point): Point => ({ x: (at.x - x) / scale, y: (at.y - y) / scale });
export const toScreen = ({ scale, x, y }: View, at: Point): Point => ({ x: at.x * scale + x, y: at.y * scale + y });

/** The view that shows all of `area` with some room around it; never more than six times as large as it is. */
export function fitted(area: Area, room: Size, margin: number): View {
  const [wide, high] = [area.right - area.left, area.bottom - area.top];
  const scale = clamp(Math.min((room.width - 2 * margin) / wide, (room.height - 2 * margin) / high, 6));
  return {
    scale,
    x: room.width / 2 - (area.left + wide / 2) * scale,
    y: room.height / 2 - (area.top + high / 2) * scale,
  };
}

/** Where on the screen an area is, as a style. */
export const placed = ({ left, top, right, bottom }: Area, { scale, x, y }: View) => ({
  left: left * scale + x, top: top * scale + y, width: (right - left) * scale, height: (bottom - top) * scale,
});

/** Zoomed by `factor`, so that what is at `at` on the screen stays there. */
export function zoomed(view: View, factor: number, at: Point): View {
  const scale = clamp(view.scale * factor);
  const share = scale / view.scale;
  return { scale, x: at.x - (at.x - view.x) * share, y: at.y - (at.y - view.y) * share };
}

const clamp = (scale: number): number => Math.min(Math.max(scale, SMALLEST), LARGEST);
