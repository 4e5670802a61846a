import type { Random } from '../learning/training/random.ts';
import { COLOURS, COLUMNS, type Colour, ROWS, SHAPES, type Shape, SIZES, type Size } from './words.ts';

/** Pixels of a side. */
export const SIDE = 32;

/** One thing in a scene; `row` and `column` are 0, 1 or 2. */
export interface Thing {
  readonly shape: Shape;
  readonly colour: Colour;
  readonly size: Size;
  readonly row: number;
  readonly column: number;
}

/** Things in reading order: no two in one cell. */
export type Scene = readonly Thing[];

const RGB: Record<Colour, readonly [number, number, number]> = {
  red: [225, 35, 40],
  green: [40, 170, 60],
  blue: [45, 75, 230],
  yellow: [240, 220, 50],
  purple: [150, 50, 190],
  orange: [245, 140, 30],
  white: [245, 245, 245],
  cyan: [60, 215, 225],
};

/** A random scene of things that differ in shape or colour. */
export function randomScene(random: Random, things: number, shapes: readonly Shape[] = SHAPES): Scene {
  const cells = random.permutation(9).slice(0, things).sort();
  const seen = new Set<string>();
  return [...cells].map((cell) => {
    for (;;) {
      const shape = shapes[random.below(shapes.length)]!;
      const colour = COLOURS[random.below(COLOURS.length)]!;
      if (seen.has(`${colour} ${shape}`)) continue;
      seen.add(`${colour} ${shape}`);
      return { shape, colour, size: SIZES[random.below(2)]!, row: Math.floor(cell / 3), column: cell % 3 };
    }
  });
}

export const placeOf = ({ row, column }: Thing) => `${ROWS[row]} ${COLUMNS[column]}`;

/** Whether a point is inside a shape of radius 1 around the origin; y grows downwards. */
const INSIDE: Record<Shape, (x: number, y: number) => boolean> = {
  circle: (x, y) => x * x + y * y < 0.85,
  square: (x, y) => Math.max(Math.abs(x), Math.abs(y)) < 0.78,
  triangle: (x, y) => y < 0.75 && y > 2 * Math.abs(x) - 0.95,
  diamond: (x, y) => Math.abs(x) * 1.25 + Math.abs(y) < 1,
  cross: (x, y) => Math.min(Math.abs(x), Math.abs(y)) < 0.28 && Math.max(Math.abs(x), Math.abs(y)) < 0.95,
  ring: (x, y) => x * x + y * y < 1 && x * x + y * y > 0.34,
  star: (x, y) => Math.sqrt(Math.abs(x)) + Math.sqrt(Math.abs(y)) < 1,
  heart: (x, y) => (x * x * 1.3 + y * y * 1.3 - 0.55) ** 3 + x * x * y ** 3 * 1.6 < 0,
  moon: (x, y) => x * x + y * y < 1 && (x - 0.5) ** 2 + y * y > 0.6,
  arrow: (x, y) => (x > 0 ? Math.abs(y) < 1 - x : x > -0.95 && Math.abs(y) < 0.3),
};

/** Samples per pixel and direction. */
const FINE = 3;

/** Pixels of a side of one patch of the tower. */
const PATCH = 8;

/**
 * Draws a scene on a dark, slightly noisy ground: SIDE × SIDE × 3 bytes. Every thing stands within one patch of the tower
 * (a middle cell in one of the two inner ones), so that a tower this small can tell shapes apart.
 */
export function drawScene(scene: Scene, random: Random): Uint8Array {
  const ground = 12 + random.below(30);
  const pixels = new Uint8Array(SIDE * SIDE * 3).map(() => ground + random.below(9));
  const centre = (cell: number) => ([0, 1 + random.below(2), 3][cell]! + 0.5) * PATCH + (random.uniform() - 0.5) * 0.6;
  for (const { shape, colour, size, row, column } of scene) {
    const radius = (size === 'large' ? 4 : 3) + random.uniform() * 0.2;
    const [cx, cy] = [centre(column), centre(row)];
    paint(pixels, RGB[colour], (x, y) => INSIDE[shape]((x - cx) / radius, (y - cy) / radius), cx, cy, radius);
  }
  return pixels;
}

/** Fills where `inside`, with soft edges. */
function paint(
  pixels: Uint8Array,
  rgb: readonly number[],
  inside: (x: number, y: number) => boolean,
  cx: number,
  cy: number,
  radius: number,
): void {
  const from = (centre: number) => Math.max(0, Math.floor(centre - radius - 1));
  const to = (centre: number) => Math.min(SIDE, Math.ceil(centre + radius + 1));
  for (let y = from(cy); y < to(cy); y++)
    for (let x = from(cx); x < to(cx); x++) {
      let hits = 0;
      for (let i = 0; i < FINE * FINE; i++)
        if (inside(x + ((i % FINE) + 0.5) / FINE, y + (Math.floor(i / FINE) + 0.5) / FINE)) hits++;
      const share = hits / (FINE * FINE);
      for (let c = 0; c < 3; c++) {
        const at = (y * SIDE + x) * 3 + c;
        pixels[at] = Math.round(pixels[at]! * (1 - share) + rgb[c]! * share);
      }
    }
}

/** A handwritten digit of 8 × 8 values 0..16, enlarged to SIDE × SIDE × 3 bytes by bilinear interpolation. */
export function drawDigit(ink: ArrayLike<number>): Uint8Array {
  const pixels = new Uint8Array(SIDE * SIDE * 3);
  const at = (x: number, y: number) => ink[Math.max(0, Math.min(7, y)) * 8 + Math.max(0, Math.min(7, x))]!;
  for (let y = 0; y < SIDE; y++)
    for (let x = 0; x < SIDE; x++) {
      const [u, v] = [(x + 0.5) / 4 - 0.5, (y + 0.5) / 4 - 0.5];
      const [i, j] = [Math.floor(u), Math.floor(v)];
      const [a, b] = [u - i, v - j];
      const value =
        (at(i, j) * (1 - a) + at(i + 1, j) * a) * (1 - b) + (at(i, j + 1) * (1 - a) + at(i + 1, j + 1) * a) * b;
      pixels.fill(Math.round(20 + (value / 16) * 230), (y * SIDE + x) * 3, (y * SIDE + x) * 3 + 3);
    }
  return pixels;
}
