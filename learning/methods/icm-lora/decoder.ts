import type { HostTensor, TensorMap } from '../../../core/host-tensor.ts';

/** How a generator is built; the rest follows. */
export interface Shape {
  /** Of the strided convolutions of the encoder, from the weights inwards; the decoder mirrors them. */
  readonly channels: readonly number[];
  /** Taps of every convolution; odd. */
  readonly kernel: number;
  /** Size of z. */
  readonly latent: number;
  /** Size of what a task is told by. */
  readonly condition: number;
  /** Numbers to generate. */
  readonly size: number;
}

/** Positions of the innermost feature map: every convolution halves. */
export const innermost = ({ size, channels }: Shape): number => Math.ceil(size / 2 ** channels.length);

/** Length of a padded vector of weights. */
export const paddedLength = (shape: Shape): number => innermost(shape) * 2 ** shape.channels.length;

/** Names and shapes of the decoder's tensors: a linear layer, then transposed convolutions as [kernel, to, from]. */
export function decoderShapes(shape: Shape): Map<string, number[]> {
  const { channels, kernel, latent, condition } = shape;
  const inner = innermost(shape) * channels.at(-1)!;
  const shapes = new Map([
    ['decoder.linear.weight', [latent + condition, inner]],
    ['decoder.linear.bias', [inner]],
  ]);
  for (let i = channels.length - 1; i >= 0; i--) {
    const to = i > 0 ? channels[i - 1]! : 1;
    shapes.set(`decoder.${i}.weight`, [kernel, to, channels[i]!]);
    shapes.set(`decoder.${i}.bias`, [to]);
  }
  return shapes;
}

/** Padding before the first input of a convolution of stride 2 that halves an even length ("same", as TensorFlow pads). */
export const paddingBefore = (kernel: number): number => Math.floor((kernel - 2) / 2);

/** The numbers that the decoder makes of (z, condition): plain arithmetic, so that a bank gives its adapters anywhere. */
export function decode(weights: TensorMap, shape: Shape, z: Float32Array, condition: Float32Array): Float32Array {
  const { channels, kernel } = shape;
  const get = (name: string): HostTensor => weights.get(name)!;
  const [linear, bias] = [get('decoder.linear.weight').data, get('decoder.linear.bias').data];
  let x: Float64Array = Float64Array.from(bias);
  for (const [i, value] of [...z, ...condition].entries())
    for (let j = 0; j < x.length; j++) x[j]! += value * linear[i * x.length + j]!;
  for (let i = channels.length - 1; i >= 0; i--) {
    x = transposed(elu(x), get(`decoder.${i}.weight`), get(`decoder.${i}.bias`).data, kernel);
  }
  return Float32Array.from(x.subarray(0, shape.size));
}

const elu = (x: Float64Array) => x.map((value) => (value > 0 ? value : Math.expm1(value)));

/** A transposed convolution of stride 2: x [length, from] → [2 · length, to]. */
function transposed(x: Float64Array, { shape, data }: HostTensor, bias: Float32Array, kernel: number): Float64Array {
  const [, to, from] = shape as [number, number, number];
  const length = x.length / from;
  const out = new Float64Array(2 * length * to);
  for (let at = 0; at < 2 * length; at++) for (let o = 0; o < to; o++) out[at * to + o] = bias[o]!;
  const before = paddingBefore(kernel);
  for (let i = 0; i < length; i++)
    for (let tap = 0; tap < kernel; tap++) {
      const at = 2 * i + tap - before;
      if (at < 0 || at >= 2 * length) continue;
      for (let o = 0; o < to; o++) {
        let sum = 0;
        for (let c = 0; c < from; c++) sum += x[i * from + c]! * data[(tap * to + o) * from + c]!;
        out[at * to + o]! += sum;
      }
    }
  return out;
}
