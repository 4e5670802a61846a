import { describe, expect, it } from 'vitest';
import { afterTask, LLAVA_LAYERS, wave } from '../../../test/method-numbers.ts';
import { expectNear } from '../../../test/reference.ts';
import { fromHost, multiply } from '../../tensors/linalg.ts';
import { Random } from '../../training/random.ts';
import type { Bank, Method } from '../method.ts';
import { methodNamed } from '../registry.ts';
import { mergeWeight, orthonormal } from './index.ts';

const method: Method = methodNamed('slao');
const layers = [{ name: 'l', in: 4, out: 3 }];
const A = wave(1, 2, 4);

/** Three tasks, of which every one ends in the same A. */
function learned(more: object): Bank {
  const options = method.options.parse({ rank: 2, alpha: 4, ...more });
  const start = method.start(layers, options, new Random(1));
  return [2, 3, 4].reduce(
    (bank, seed) => afterTask(method, bank, `task ${seed}`, { lora_A: A, lora_B: wave(seed, 3, 2) }),
    start,
  );
}

describe('SLAO computes what test/reference/methods/slao.py does', () => {
  it('in the start of a task', () => {
    const start = orthonormal(A);
    const expected = [
      0.573951602, 0.676395998, 0.460720787, 0.028361391, 0.461034856, -0.022690833, -0.495744668, -0.73564204,
    ];
    expectNear(start.data, expected, 1e-6, 'A');
    expectNear(multiply(fromHost(start), fromHost(start), false, true).data, [1, 0, 0, 1], 1e-6, 'A Aᵀ');
  });

  it('in the merged B', () => {
    const B = (more: object) => learned(more).tensors.get('shared/l/lora_B')!.data;
    const roots = [-0.282202156, -0.682746106, -0.762183894, -0.483154688, 0.023109718, 0.518505262];
    const means = [0.097871647, -0.367459839, -0.659969221, -0.642084766, -0.322217812, 0.149193213];
    expectNear(B({}), roots, 1e-6, '1/√i');
    expectNear(B({ mergeRule: 'inverse' }), means, 1e-6, '1/i');
    expectNear(B({ mergeRule: 'constant', mergeWeight: 1 }), wave(4, 3, 2).data, 1e-6, 'the last B');
  });
});

it('starts B of a task at the fine-tuned or at the merged one, as asked', () => {
  for (const [startFrom, tensor] of [
    ['fine-tuned', 'last_B'],
    ['merged', 'lora_B'],
  ] as const) {
    const bank = learned({ startFrom });
    const { tensors } = method.begin(bank, 'next', { ...bank.options }, new Random(1));
    expect(tensors.get('l/lora_B')!.start).toEqual(bank.tensors.get(`shared/l/${tensor}`));
    expect(tensors.get('l/lora_A')!.start).toEqual(orthonormal(A));
  }
});

it('weighs tasks by the rule, the first one whole', () => {
  const weights = (mergeRule: 'inverse-root' | 'inverse' | 'constant') =>
    [1, 2, 4].map((i) => mergeWeight(i, { mergeRule, mergeWeight: 0.3 }));
  expect(weights('inverse-root')).toEqual([1, 1 / Math.sqrt(2), 0.5]);
  expect(weights('inverse')).toEqual([1, 0.5, 0.25]);
  expect(weights('constant')).toEqual([1, 0.3, 0.3]);
});

it('keeps one LoRA, and the last B for training', () => {
  const { parameters } = method.describe(LLAVA_LAYERS, method.options.parse({ rank: 128 }));
  expect(parameters).toEqual({ shared: 187_301_888, perTask: 0, training: { shared: 108_003_328, perTask: 0 } });
});

it('refuses a layer with fewer inputs than the rank', () => {
  const options = method.options.parse({ rank: 5 });
  expect(() => method.start(layers, options, new Random(1))).toThrow('l has 4 inputs: no orthonormal basis of rank 5');
});
