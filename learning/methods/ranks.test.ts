import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import type { HostTensor } from '../../core/host-tensor.ts';
import { expectNear } from '../../test/reference.ts';
import { smallOptions } from '../../test/small-learning.ts';
import { startTensors } from '../tensors/backend.ts';
import { Random } from '../training/random.ts';
import { activeDigest, bindAdapter, bindLora } from './adapter.ts';
import { readBank, writeBank } from './bank.ts';
import { pairParameters } from './lora.ts';
import type { Bank, Method } from './method.ts';
import { mustMatchLayers, pairOptions, rankOf, scaleOf } from './ranks.ts';
import { methodNamed, methodNames } from './registry.ts';

const layers = [
  { name: 'model.layers.0.up_proj', in: 12, out: 10 },
  { name: 'model.layers.1.up_proj', in: 10, out: 16 },
  { name: 'model.layers.10.down_proj', in: 9, out: 8 },
];
const patterns = { rankPattern: { 'layers\\.1\\..*': 2, down_proj: 3 }, alphaPattern: { up_proj: 5 }, useRslora: true };

describe('ranks and alphas of layers', () => {
  it('are those of the first pattern that PEFT would take', () => {
    // As get_pattern_key of PEFT 0.21: re.match(rf"(.*\.)?({key})$", path).
    const options = pairOptions.parse({ rank: 4, alpha: 8, ...patterns });
    expect(layers.map(({ name }) => rankOf(options, name))).toEqual([4, 2, 3]);
    const scales = layers.map(({ name }) => scaleOf(options, name));
    expectNear(scales, [5 / 2, 5 / Math.sqrt(2), 8 / Math.sqrt(3)], 1e-12, 'scales');
    expect(scaleOf(pairOptions.parse({ rank: 4, alpha: 8 }), 'x')).toBe(2);
    expect(pairParameters(layers, options)).toBe(4 * 22 + 2 * 26 + 3 * 17);
    expect(rankOf({ rank: 4, rankPattern: { proj: 1 } }, 'model.up_proj'), 'no part of a name').toBe(4);
  });

  it('leave no trace where they are not given', () => {
    expect(pairOptions.parse({ rank: 4, alpha: 8 })).toEqual({ rank: 4, alpha: 8 });
  });

  it.each<[object, RegExp]>([
    [{ rankPattern: { up_projj: 2 } }, /rankPattern: up_projj matches no adapted layer/],
    [{ alphaPattern: { 'a)': 2 } }, /alphaPattern: the key "a\)" is no regular expression/],
    [{ rankPattern: { '(a+)+': 2 } }, /repeats a repetition/],
  ])('refuses %j', (given, message) => {
    expect(() => mustMatchLayers(layers, pairOptions.parse(given))).toThrow(message);
  });

  it('refuses two patterns that differ on a layer, whatever their order', () => {
    const both = pairOptions.parse({ rankPattern: { up_proj: 2, 'layers.0.up_proj': 3 } });
    expect(() => rankOf(both, layers[0]!.name)).toThrow(
      /up_proj and layers.0.up_proj both match model.layers.0.up_proj/,
    );
    expect(rankOf(both, layers[1]!.name)).toBe(2);
  });
});

/** A task as if it had been learned: every trained tensor moved by random numbers. */
function pretend(method: Method, bank: Bank, task: string): Bank {
  const random = new Random(7).split(task);
  const trainable = method.begin(bank, task, { ...bank.options }, random.split('begin'));
  const moved = ({ shape, data }: HostTensor) => ({ shape, data: data.map((x) => x + 0.1 * random.normal()) });
  const learned = [...trainable.tensors].filter(([, { trained }]) => trained);
  return method.finish(bank, trainable, new Map(learned.map(([key, { start }]) => [key, moved(start)])));
}

const PLAIN = [
  'sequential-lora',
  'per-task-lora',
  'joint',
  'replay',
  'ewc',
  'lwf',
  'lines',
  'ortho-lora',
  'slao',
  'treelora',
  'o-lora',
];

describe.each(PLAIN)('%s', (name) => {
  beforeAll(() => startTensors('tensorflow'));
  const method = methodNamed(name);
  const options = method.options.parse({ ...smallOptions(name), ...patterns });

  it('has pairs of several ranks and scales, and folds to the LoRA that computes the same', () => {
    const first = pretend(method, method.start(layers, options, new Random(1)), 'a');
    const bank = readBank(writeBank(pretend(method, first, 'b')), 'bank');
    expect(bank.options['rankPattern']).toEqual(patterns.rankPattern);
    const [adapter, folded] = [bindAdapter(bank, 'b'), bindLora(method.fold!(bank, 'b'))];
    for (const layer of layers) {
      const x = tf.tensor2d(
        Array.from({ length: 2 * layer.in }, (_, i) => Math.sin(i)),
        [2, layer.in],
      );
      const base = tf.zeros([2, layer.out]) as tf.Tensor2D;
      const [own, plain] = [adapter, folded].map(({ adapt }) => adapt(layer.name, x, base).dataSync());
      expect(Math.hypot(...own!)).toBeGreaterThan(1e-3);
      expectNear(plain!, own!, 1e-5, layer.name);
    }
    adapter.dispose();
    folded.dispose();
  });

  it('keeps as many numbers as it says', () => {
    const bank = pretend(method, method.start(layers, options, new Random(1)), 'a');
    const kept = [...bank.tensors].filter(([key]) => /lora_[AB]$/.test(key));
    const { shared, perTask } = method.describe(layers, options).parameters;
    expect(kept.reduce((sum, [, { data }]) => sum + data.length, 0)).toBe(shared + perTask);
  });

  it('goes on with the patterns it began with, and no others', () => {
    const bank = pretend(method, method.start(layers, options, new Random(1)), 'a');
    const begin = (given: object) => () =>
      method.begin(bank, 'b', method.options.parse({ ...smallOptions(name), ...given }), new Random(2));
    expect(begin(patterns)).not.toThrow();
    expect(begin({ ...patterns, rankPattern: undefined })).toThrow(/started with rankPattern = \{/);
    expect(begin({ ...patterns, useRslora: undefined })).toThrow(/started with useRslora = true, not/);
  });
});

it('every other method refuses them by name', () => {
  for (const name of methodNames().filter((each) => !PLAIN.includes(each)))
    for (const option of Object.keys(patterns))
      expect(methodNamed(name).options.safeParse({ [option]: {} }).error?.message, name).toContain(option);
  const { error } = methodNamed('moelora').options.safeParse(patterns);
  expect(error?.message).toContain('this method has one rank and one scale');
});

it('answers of two scales are not taken for each other', () => {
  const method = methodNamed('sequential-lora');
  const digest = (given: object) => {
    const options = method.options.parse({ rank: 4, alpha: 8, ...given });
    return activeDigest(pretend(method, method.start(layers, options, new Random(1)), 'a'), 'a');
  };
  const digests = [{}, { useRslora: true }, { alphaPattern: { up_proj: 5 } }].map(digest);
  expect(new Set(digests).size).toBe(3);
});
