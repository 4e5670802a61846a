import { LiloraError } from '../../core/errors.ts';
import type { TokenBatch } from './model.ts';

/** Positions of the tokens of a batch. */
export interface Positions {
  /** [rows * length] per axis; 0 on padding. */
  readonly axes: readonly Int32Array[];
  /** The position, on every axis, of the token that follows each row. */
  readonly next: readonly number[];
}

/** Every real token stands one after the real token before it: the cumulative sum of the mask minus one. */
export function plainPositions({ rows, length, attentionMask }: TokenBatch): Positions {
  const axis = new Int32Array(rows * length);
  const next = Array.from({ length: rows }, (_, row) => {
    let seen = 0;
    for (let at = row * length; at < (row + 1) * length; at++) if (attentionMask[at]) axis[at] = seen++;
    return seen;
  });
  return { axes: [axis], next };
}

/**
 * Positions in time, height and width (M-RoPE, Wang et al. 2024): text moves on all axes together; an image stands at one
 * time and spreads over height and width; what follows stands after its longer side. `BadConfig` when the grids of the
 * batch do not fit its image tokens.
 */
export function spatialPositions(batch: TokenBatch, imageToken: number): Positions {
  const { rows, length, attentionMask, inputIds, grids = [] } = batch;
  const axes = Array.from({ length: 3 }, () => new Int32Array(rows * length)) as [Int32Array, Int32Array, Int32Array];
  const next: number[] = [];
  let image = 0;
  for (let row = 0; row < rows; row++) {
    const real: number[] = [];
    for (let at = row * length; at < (row + 1) * length; at++) if (attentionMask[at]) real.push(at);
    let position = 0;
    for (let i = 0; i < real.length; ) {
      if (inputIds[real[i]!] !== imageToken) {
        for (const axis of axes) axis[real[i]!] = position;
        position++;
        i++;
        continue;
      }
      const [height, width] = grids[image++] ?? [0, 0];
      const tokens = real.slice(i, i + height * width);
      if (tokens.length === 0 || tokens.length < height * width || tokens.some((at) => inputIds[at] !== imageToken)) {
        const problem = `image ${image} of the batch has a grid of ${height} × ${width}`;
        throw new LiloraError('BadConfig', `Row ${row}: ${problem}, but not as many image tokens. Encode it again.`);
      }
      for (const [k, at] of tokens.entries()) {
        axes[0][at] = position;
        axes[1][at] = position + Math.floor(k / width);
        axes[2][at] = position + (k % width);
      }
      position += Math.max(height, width);
      i += tokens.length;
    }
    next.push(position);
  }
  if (image !== grids.length)
    throw new LiloraError(
      'BadConfig',
      `${grids.length} image grids for ${image} images in the batch. Encode it again.`,
    );
  return { axes, next };
}
