import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import type { HostTensor } from '../../core/host-tensor.ts';
import { startTensors } from '../tensors/backend.ts';
import { Random } from '../training/random.ts';
import { activeDigest, bindAdapter, bindLora, bindTrainable } from './adapter.ts';
import type { Bank } from './method.ts';
import { methodNamed } from './registry.ts';

let x: tf.Tensor2D;
let base: tf.Tensor2D;

beforeAll(async () => {
  await startTensors('cpu');
  x = tf.tensor2d([[1, 2, 3]]);
  base = tf.tensor2d([[10, 20]]);
});

const layers = [
  { name: 'one', in: 3, out: 2 },
  { name: 'two', in: 2, out: 4 },
];
const given = { rank: 2, alpha: 6 };

/** Learns a task: every trained tensor is filled with `value`. */
function learn(name: string, bank: Bank | null, task: string, value: number): Bank {
  const method = methodNamed(name);
  const options = method.options.parse(name === 'zero-shot' ? {} : given);
  const before = bank ?? method.start(layers, options, new Random(1));
  const trainable = method.begin(before, task, options, new Random(2));
  const trained = [...trainable.tensors].map(([key, { start }]): [string, HostTensor] => [
    key,
    { shape: start.shape, data: new Float32Array(start.data.length).fill(value) },
  ]);
  return method.finish(before, trainable, new Map(trained));
}

const output = (bank: Bank, task: string) => {
  const { adapt, dispose } = bindAdapter(bank, task);
  const y = [...adapt('one', x, base).dataSync()];
  dispose();
  return y;
};

// Rank 2, scale 3, all entries v: A x = 6v twice, so B A x = 12v², and times 3.
const lora = (v: number) => [10 + 36 * v * v, 20 + 36 * v * v];

describe('sequential LoRA', () => {
  it('has one adapter for all tasks: the last', () => {
    const bank = learn('sequential-lora', learn('sequential-lora', null, 'a', 1), 'b', 2);
    expect(output(bank, 'a')).toEqual(lora(2));
    expect(output(bank, 'b')).toEqual(lora(2));
    expect(activeDigest(bank, 'a')).toBe(activeDigest(bank, 'b'));
    expect([...bank.tensors.keys()].every((key) => key.startsWith('shared/'))).toBe(true);
  });

  it('trains on from where it was, and starts at the base model', () => {
    const method = methodNamed('sequential-lora');
    const first = learn('sequential-lora', null, 'a', 1);
    const { tensors } = method.begin(first, 'b', method.options.parse(given), new Random(3));
    for (const { start, place, trained } of tensors.values())
      expect([start.data.every((value) => value === 1), place, trained]).toEqual([true, 'shared', true]);
    const options = method.options.parse(given);
    const fresh = method.start(layers, options, new Random(1));
    const bound = bindTrainable(method, options, layers, method.begin(fresh, 'a', options, new Random(2)));
    expect([...bound.adapt('one', x, base).dataSync()]).toEqual([10, 20]);
    bound.dispose();
  });
});

describe('per-task LoRA', () => {
  it('has an adapter for every task, untouched by later ones', () => {
    const bank = learn('per-task-lora', learn('per-task-lora', null, 'a', 1), 'b', 2);
    expect(output(bank, 'a')).toEqual(lora(1));
    expect(output(bank, 'b')).toEqual(lora(2));
  });

  it('starts every task at the base model', () => {
    const method = methodNamed('per-task-lora');
    const options = method.options.parse(given);
    const trainable = method.begin(learn('per-task-lora', null, 'a', 1), 'b', options, new Random(2));
    const bound = bindTrainable(method, options, layers, trainable);
    expect([...bound.adapt('one', x, base).dataSync()]).toEqual([10, 20]);
    expect([...bound.variables.keys()].map(bound.group)).toEqual(['own', 'own', 'own', 'own']);
    bound.dispose();
  });
});

describe.each(['sequential-lora', 'per-task-lora'])('%s', (name) => {
  const method = methodNamed(name);

  it('folds to itself', () => {
    const bank = learn(name, null, 'a', 1);
    const folded = method.fold!(bank, 'a');
    const { adapt, dispose } = bindLora(folded);
    expect([...adapt('one', x, base).dataSync()]).toEqual(output(bank, 'a'));
    expect(adapt('three', x, base)).toBe(base);
    dispose();
  });

  it('has the parameters it says', () => {
    const { shared, perTask } = method.describe(layers, method.options.parse(given)).parameters;
    const bank = learn(name, learn(name, null, 'a', 1), 'b', 2);
    const size = [...bank.tensors.values()].reduce((sum, { data }) => sum + data.length, 0);
    expect(shared + 2 * perTask).toBe(size);
    expect(shared + perTask).toBe(2 * (3 + 2) + 2 * (2 + 4));
  });

  it('refuses unknown options', () => {
    expect(() => method.options.parse({ rank: 0 })).toThrow();
    expect(() => method.options.parse({ ranks: 4 })).toThrow();
  });
});

describe('zero-shot', () => {
  it('is the base model', () => {
    const bank = learn('zero-shot', null, 'a', 1);
    expect(output(bank, 'a')).toEqual([10, 20]);
    expect(bank.tensors.size).toBe(0);
    expect(methodNamed('zero-shot').describe(layers, {}).parameters).toEqual({ shared: 0, perTask: 0 });
  });
});

describe('a task in training', () => {
  const method = methodNamed('lilora');
  const options = method.options.parse({ ...given, variant: 'safe' });
  const bank = learn('lilora', null, 'a', 0.5);

  it('has variables only where something is trained', () => {
    const before = tf.memory().numTensors;
    const bound = bindTrainable(method, options, layers, method.begin(bank, 'b', options, new Random(2)));
    expect([...bound.variables.keys()].sort()).toEqual(
      ['one', 'two'].flatMap((layer) => ['A_tilde', 'B_tilde', 'a'].map((tensor) => `${layer}/${tensor}`)),
    );
    expect(bound.active.get('one', 'A')).not.toBeInstanceOf(tf.Variable);
    expect(bound.group('one/A')).toBe('shared');
    expect(bound.active.has('one', 'A')).toBe(true);
    expect(bound.active.has('three', 'A')).toBe(false);
    const now = bound.trained();
    tf.tidy(() => bound.variables.get('one/a')!.assign(tf.tensor1d([7])));
    expect([...bound.trained().get('one/a')!.data]).toEqual([7]);
    expect([...now.get('one/a')!.data]).not.toEqual([7]);
    bound.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  it('goes on with the layers it began with, and no others', () => {
    const trainable = method.begin(bank, 'b', options, new Random(2));
    const bind = (chosen: typeof layers) => () => bindTrainable(method, options, chosen, trainable);
    expect(bind(layers.slice(0, 1))).toThrow(/other layers than the targets choose: also two\./);
    expect(bind([...layers, { name: 'three', in: 1, out: 1 }])).toThrow(/choose: not three\./);
  });
});
