// How a picture is looked at: how large, and which point is in the middle. Several stages may share one.

import { useCallback, useState } from "react";

/** `zoom` 1 fits the stage; `x` and `y` are the point in the middle, as parts of the picture. */
export interface View {
  zoom: number;
  x: number;
  y: number;
}

export const FITTED: View = { zoom: 1, x: 0.5, y: 0.5 };
const SMALLEST = 0.25;
const LARGEST = 64;

export interface Viewing {
  view: View;
  setView: (change: (view: View) => View) => void;
}

export function useView(): Viewing {
  const [view, set] = useState(FITTED);
  const setView = useCallback((change: (view: View) => View) => set((before) => settled(change(before))), []);
  return { view, setView };
}

const within = (value: number, low: number, high: number) => Math.min(high, Math.max(low, value));

function settled({ zoom, x, y }: View): View {
  const size = within(zoom, SMALLEST, LARGEST);
  return size <= 1 ? { zoom: size, x: 0.5, y: 0.5 } : { zoom: size, x: within(x, 0, 1), y: within(y, 0, 1) };
}

/** Zooms by a factor, so that the point `at` (parts of the picture) stays where it is. */
export const zoomed = (by: number, at?: { x: number; y: number }) => (view: View): View => {
  const zoom = within(view.zoom * by, SMALLEST, LARGEST);
  if (!at) return { ...view, zoom };
  const kept = view.zoom / zoom;
  return { zoom, x: at.x + (view.x - at.x) * kept, y: at.y + (view.y - at.y) * kept };
};

/** Moves by parts of the picture. */
export const moved = (dx: number, dy: number) => (view: View): View => ({ ...view, x: view.x + dx, y: view.y + dy });
