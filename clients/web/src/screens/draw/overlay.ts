// Shows a mask over its picture: the part of the screen that is asked for, and no more of it.

import type { Area, PaintedMask } from "./mask";
import type { View } from "./view";

export interface Look {
  /** Red, green, blue. */
  color: [number, number, number];
  /** Standard deviation in pixels of the picture; 0 shows the mask as it is painted, with its edge. */
  blur: number;
  /** Whether what is not painted is meant. */
  inverted: boolean;
}

const OPACITY = 0.55;
const TAPS = 16; // of the blur's kernel to each side, at most: coarser samples do for a wide one
const DASH_SHIFT = 2; // the edge changes between black and white every 4 pixels

/** Draws `area`, in pixels of the canvas. `view` is in these pixels, too. */
export function drawMask(canvas: HTMLCanvasElement, mask: PaintedMask, view: View, area: Area, look: Look): void {
  const context = canvas.getContext("2d")!;
  const picture = {
    left: Math.max(Math.round(view.x), area.left, 0), top: Math.max(Math.round(view.y), area.top, 0),
    right: Math.min(Math.round(view.x + mask.width * view.scale), area.right, canvas.width),
    bottom: Math.min(Math.round(view.y + mask.height * view.scale), area.bottom, canvas.height),
  };
  context.clearRect(area.left, area.top, area.right - area.left, area.bottom - area.top);
  if (picture.right <= picture.left || picture.bottom <= picture.top) return;
  if (look.blur * view.scale < 0.3) drawSharp(context, mask, view, picture, look);
  else drawBlurred(context, mask, view, picture, look);
}

function drawSharp(context: CanvasRenderingContext2D, mask: PaintedMask, view: View, area: Area, look: Look): void {
  const { data, wide, high } = sampled(mask, view, { ...area, left: area.left - 1, top: area.top - 1, right: area.right + 1, bottom: area.bottom + 1 }, 1, look);
  const image = context.createImageData(wide - 2, high - 2);
  const pixels = new Uint32Array(image.data.buffer);
  const shades = colours(look);
  for (let y = 1; y < high - 1; y++) {
    for (let x = 1, at = y * wide + 1; x < wide - 1; x++, at++) {
      const value = data[at];
      if (!value) continue;
      const isEdge = value >= 128 && (data[at - 1] < 128 || data[at + 1] < 128 || data[at - wide] < 128 || data[at + wide] < 128);
      const dark = ((x + area.left + y + area.top) >> DASH_SHIFT) & 1;
      pixels[(y - 1) * (wide - 2) + x - 1] = isEdge ? (dark ? 0xff000000 : 0xffffffff) : shades[Math.round(value)];
    }
  }
  context.putImageData(image, area.left, area.top);
}

function drawBlurred(context: CanvasRenderingContext2D, mask: PaintedMask, view: View, area: Area, look: Look): void {
  const sigma = look.blur * view.scale;
  const step = Math.max(1, Math.ceil((2.5 * sigma) / TAPS));
  const radius = Math.floor((2.5 * sigma) / step + 0.5);
  // Whole steps from the corner of the screen, so that parts drawn at different times fit; one more for smoothing.
  const grid = {
    left: (Math.floor(area.left / step) - 1) * step, top: (Math.floor(area.top / step) - 1) * step,
    right: (Math.ceil(area.right / step) + 1) * step, bottom: (Math.ceil(area.bottom / step) + 1) * step,
  };
  const around = radius * step;
  const samples = sampled(mask, view, { left: grid.left - around, top: grid.top - around, right: grid.right + around, bottom: grid.bottom + around }, step, look);
  const { data, wide, high } = blurred(samples, sigma / step, radius);
  const small = new OffscreenCanvas(wide, high);
  const onSmall = small.getContext("2d")!;
  const image = onSmall.createImageData(wide, high);
  const pixels = new Uint32Array(image.data.buffer);
  const shades = colours(look);
  for (let at = 0; at < pixels.length; at++) pixels[at] = shades[Math.round(data[at])];
  onSmall.putImageData(image, 0, 0);
  context.save();
  context.beginPath();
  context.rect(area.left, area.top, area.right - area.left, area.bottom - area.top);
  context.clip();
  context.drawImage(small, grid.left, grid.top, wide * step, high * step);
  context.restore();
}

interface Samples {
  data: Float32Array;
  wide: number;
  high: number;
}

/** The mask as the screen's pixels in `area` see it, each `step` of them as one; beyond the picture it is mirrored, as
 * the server does it where it blurs. */
function sampled(mask: PaintedMask, view: View, area: Area, step: number, look: Look): Samples {
  const [wide, high] = [Math.ceil((area.right - area.left) / step), Math.ceil((area.bottom - area.top) / step)];
  const each = Math.ceil(step / 8); // enough of them to tell how much of a sample is painted
  const columns = places(area.left, wide * step, view.x, view.scale, mask.width);
  const rows = places(area.top, high * step, view.y, view.scale, mask.height);
  const data = new Float32Array(wide * high);
  const { bytes, width } = mask;
  for (let y = 0; y < high; y++) {
    for (let x = 0; x < wide; x++) {
      let [sum, count] = [0, 0];
      for (let v = y * step; v < (y + 1) * step; v += each) {
        const row = rows[v] * width;
        for (let u = x * step; u < (x + 1) * step; u += each, count++) sum += bytes[row + columns[u]];
      }
      data[y * wide + x] = look.inverted ? 255 - sum / count : sum / count;
    }
  }
  return { data, wide, high };
}

/** Which pixel of the picture each of `count` pixels of the screen shows, along one direction. */
function places(from: number, count: number, offset: number, scale: number, length: number): Int32Array {
  const found = new Int32Array(count);
  for (let k = 0; k < count; k++) {
    let at = Math.floor((from + k + 0.5 - offset) / scale);
    if (at < 0) at = -at;
    if (at >= length) at = 2 * (length - 1) - at;
    found[k] = Math.min(Math.max(at, 0), length - 1);
  }
  return found;
}

/** A Gaussian, along rows and then columns; smaller by `radius` at each side. */
function blurred({ data, wide, high }: Samples, sigma: number, radius: number): Samples {
  const kernel = Float32Array.from({ length: 2 * radius + 1 }, (_, k) => Math.exp(-0.5 * ((k - radius) / sigma) ** 2));
  const sum = kernel.reduce((a, b) => a + b);
  for (let k = 0; k < kernel.length; k++) kernel[k] /= sum;
  const narrow = wide - 2 * radius;
  const low = high - 2 * radius;
  const across = new Float32Array(narrow * high);
  for (let y = 0; y < high; y++) {
    for (let x = 0; x < narrow; x++) {
      let value = 0;
      for (let k = 0; k < kernel.length; k++) value += kernel[k] * data[y * wide + x + k];
      across[y * narrow + x] = value;
    }
  }
  const both = new Float32Array(narrow * low);
  for (let y = 0; y < low; y++) {
    for (let k = 0; k < kernel.length; k++) {
      for (let x = 0; x < narrow; x++) both[y * narrow + x] += kernel[k] * across[(y + k) * narrow + x];
    }
  }
  return { data: both, wide: narrow, high: low };
}

/** A pixel of image data for each value of a mask. */
function colours({ color: [red, green, blue] }: Look): Uint32Array {
  const bytes = new Uint8ClampedArray(256 * 4);
  for (let value = 0; value < 256; value++) bytes.set([red, green, blue, value * OPACITY], value * 4);
  return new Uint32Array(bytes.buffer);
}
