import { beforeAll, expect, it } from 'vitest';
import { layers, learnTwo, moveShared, options } from '../../../test/lilora-banks.ts';
import { startTensors } from '../../tensors/backend.ts';
import {
  add,
  frobenius,
  fromHost,
  gram,
  identity,
  inner,
  type Matrix,
  matrix,
  multiply,
  scale,
  toHost,
} from '../../tensors/linalg.ts';
import { Random } from '../../training/random.ts';
import { bindTrainable } from '../adapter.ts';
import { sharedKey, tensorOf } from '../bank.ts';
import type { Probe } from '../method.ts';
import { blend, ownOf, sharedOf } from './factors.ts';
import { lilora } from './index.ts';

beforeAll(async () => {
  await startTensors('cpu');
});

const given = options({ anchorMetric: 'inputs', stabilityWeight: 0, layerReduction: 'sum' });

/** Inputs of every layer, [samples, in], and a probe that has seen them. */
function inputsOf(seed: number) {
  const random = new Random(seed);
  const inputs = new Map<string, Matrix>(
    layers.map(({ name, in: size }) => {
      const data = Float64Array.from({ length: 7 * size }, () => random.normal());
      return [name, matrix(7, size, data)];
    }),
  );
  const moments = new Map([...inputs].map(([name, x]) => [name, toHost(gram(x))]));
  return { inputs, probe: { inputMoments: async () => moments } as unknown as Probe };
}

async function learnedTwo() {
  const { first, second } = learnTwo(given);
  const [a, b] = [inputsOf(5), inputsOf(6)];
  const ended = null as never;
  const one = await lilora.after!(first, 'a', given, a.probe, ended);
  // What the first task kept goes on into the second.
  const kept = [...one.tensors].filter(([key]) => key.endsWith('moments'));
  const tensors = new Map([...second.tensors, ...kept]);
  return { bank: await lilora.after!({ ...second, tensors }, 'b', given, b.probe, ended), seen: [a.inputs, b.inputs] };
}

/** Σ over tasks of x xᵀ, each with a mean diagonal of 1; all of it with a mean diagonal of 1, and 0.01 on the diagonal. */
function expected(seen: ReadonlyArray<ReadonlyMap<string, Matrix>>, layer: string): Matrix {
  const unit = (m: Matrix) => scale(m, m.rows / inner(m, identity(m.rows)));
  const [a, b] = seen.map((inputs) => unit(gram(inputs.get(layer)!)));
  return add(unit(add(a!, b!)), identity(a!.rows), 0.01);
}

it('keeps the second moments of what went into every layer, and no task computes with them', async () => {
  const { bank, seen } = await learnedTwo();
  for (const { name } of layers) {
    const kept = fromHost(tensorOf(bank, sharedKey(name, 'moments')));
    const mean = inner(kept, identity(kept.rows)) / kept.rows;
    const off = add(add(scale(kept, 1 / mean), identity(kept.rows), 0.01), expected(seen, name), -1);
    expect(frobenius(off)).toBeLessThan(1e-5);
  }
  expect([...lilora.activate(bank, 'a').keys()].filter((key) => key.endsWith('moments'))).toEqual([]);
  const { training } = lilora.describe(layers, given).parameters;
  expect(training).toEqual({ shared: 6 ** 2 + 5 ** 2, perTask: 0 });
});

it('penalizes what the inputs of earlier tasks would see', async () => {
  const { bank, seen } = await learnedTwo();
  const trainable = lilora.begin(bank, 'c', given, new Random(3));
  const bound = bindTrainable(lilora as never, given, layers, trainable);
  moveShared(bound);
  let sum = 0;
  for (const { name } of layers) {
    const now = Object.fromEntries(
      ['A', 'B0'].map((tensor) => {
        const { shape } = bound.variables.get(`${name}/${tensor}`)!;
        return [tensor, matrix(shape[0]!, shape[1]!, bound.variables.get(`${name}/${tensor}`)!.dataSync())];
      }),
    ) as { A: Matrix; B0: Matrix };
    const old = sharedOf(bank, name);
    for (const task of ['a', 'b']) {
      const own = ownOf(bank, task, name);
      const change = add(multiply(blend(now.B0, own), now.A), multiply(blend(old.B0, own), old.A), -1);
      sum += inner(multiply(change, expected(seen, name)), change);
    }
  }
  expect(lilora.penalty!(bound.active, given, trainable).dataSync()[0]! / sum).toBeCloseTo(1, 4);
  bound.dispose();
});
