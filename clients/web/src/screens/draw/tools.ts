// What one paints with, the same for all pictures.

import { create } from "zustand";

export type Tool = "brush" | "eraser" | "rectangle" | "lasso";

export const COLOURS: Record<string, [number, number, number]> = {
  red: [235, 40, 60],
  green: [20, 200, 90],
  blue: [40, 110, 255],
  yellow: [255, 210, 0],
  white: [255, 255, 255],
  black: [0, 0, 0],
};

interface Tools {
  /** The full name of the job that is chosen; null takes the first one. */
  job: string | null;
  tool: Tool;
  /** Diameter, as a share of the picture's shorter side. */
  share: number;
  /** 0 is a hard edge; 1 falls off from the middle on. */
  softness: number;
  /** null chooses one that the picture does not have. */
  color: string | null;
  /** Whether the mask is shown as the job will blur it. */
  softened: boolean;
}

/** The colour that is least like what a picture shows. */
export function contrasting(picture: ImageBitmap): string {
  const side = 16;
  const context = new OffscreenCanvas(side, side).getContext("2d", { willReadFrequently: true })!;
  context.drawImage(picture, 0, 0, side, side);
  const { data } = context.getImageData(0, 0, side, side);
  const nearest = (color: number[]) => {
    const distances = Array.from({ length: side * side }, (_, at) => Math.hypot(...color.map((value, k) => value - data[at * 4 + k])));
    return distances.sort((a, b) => a - b)[side]; // all but a few pixels are further away
  };
  const colourful = Object.keys(COLOURS).filter((name) => new Set(COLOURS[name]).size > 1);
  return colourful.reduce((best, name) => (nearest(COLOURS[name]) > nearest(COLOURS[best]) ? name : best));
}

export const useTools = create<Tools>(() => ({ job: null, tool: "brush", share: 0.12, softness: 0, color: null, softened: false }));
export const setTools = useTools.setState;
const between = (value: number, least: number, most: number) => Math.min(Math.max(value, least), most);

export const setShare = (share: number): void => setTools({ share: between(share, 0.002, 1) });
export const setSoftness = (softness: number): void => setTools({ softness: between(Math.round(softness * 20) / 20, 0, 1) });
