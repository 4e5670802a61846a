import * as tf from '@tensorflow/tfjs';
import { beforeAll, beforeEach, expect, test } from 'vitest';
import { startTensors } from './backend.ts';
import { DryRun } from './dry-run.ts';
import type { Binding, NativeBackend, OpAttribute } from './record.ts';

/** The real addon, with its tensors counted. */
let real: Binding;
let counted: Binding;
let alive: Set<number>;
const executed: string[] = [];

beforeAll(async () => {
  await startTensors('tensorflow');
  real = (tf.backend() as unknown as NativeBackend).binding;
});
beforeEach(() => {
  alive = new Set();
  executed.length = 0;
  const met = <T extends number>(id: T) => {
    alive.add(id);
    return id;
  };
  counted = Object.create(real, {
    createTensor: { value: (...given: Parameters<Binding['createTensor']>) => met(real.createTensor(...given)) },
    deleteTensor: {
      value: (id: number) => {
        expect(alive.delete(id), `tensor ${id}`).toBe(true);
        real.deleteTensor(id);
      },
    },
    executeOp: {
      value: (...given: Parameters<Binding['executeOp']>) => {
        executed.push(given[0]);
        const results = real.executeOp(...given);
        for (const { id } of results) met(id);
        return results;
      },
    },
  }) as Binding;
});

const type = (name = 'T'): OpAttribute => ({ name, type: real.TF_ATTR_TYPE, value: 1 });
const product = (x: boolean, y: boolean): OpAttribute[] => [
  type(),
  { name: 'adj_x', type: real.TF_ATTR_BOOL, value: x },
  { name: 'adj_y', type: real.TF_ATTR_BOOL, value: y },
];
const ofShape = (shape: number[]) => counted.createTensor(shape, 1, new Float32Array(shape.reduce((a, b) => a * b, 1)));

test.each([
  [[3, 4], [4, 5], false, false],
  [[4, 3], [4, 5], true, false],
  [[3, 4], [5, 4], false, true],
  [[2, 3, 4], [4, 5], false, false],
  [[7, 1, 3, 4], [6, 5, 4], false, true],
] as const)('the shape of the product of %o and %o is that of TensorFlow', (x, y, adjX, adjY) => {
  const dry = new DryRun(counted);
  const [a, b] = [ofShape([...x]), ofShape([...y])];
  const [wanted] = real.executeOp('BatchMatMulV2', product(adjX, adjY), [a, b], 1);
  const [made] = dry.execute('BatchMatMulV2', product(adjX, adjY), [a, b], 1, [x, y]);
  expect([made!.shape, made!.dtype]).toEqual([wanted!.shape, wanted!.dtype]);
  expect(executed).toEqual([]);
  for (const id of [a, b]) dry.delete(id);
  real.deleteTensor(wanted!.id);
  dry.dispose();
  expect(alive.size).toBe(0);
});

test('large results are let go, small ones are right', () => {
  const dry = new DryRun(counted);
  const shape = [40, 50];
  let x = ofShape(shape);
  for (let i = 0; i < 10; i++) {
    const [y] = dry.execute('Exp', [type()], [x], 1, [shape]);
    expect(y).toMatchObject({ shape, dtype: 1 });
    expect(y!.id).toBeLessThan(0);
    dry.delete(x);
    x = y!.id;
  }
  // What stands in for all of them.
  expect(alive.size).toBe(1);
  const small = counted.createTensor([2], 1, Float32Array.of(0, 1));
  const [y] = dry.execute('Exp', [type()], [small], 1, [[2]]);
  expect([...(real.tensorDataSync(y!.id) as Float32Array)]).toEqual([1, Math.fround(Math.E)]);
  for (const id of [small, y!.id]) dry.delete(id);
  dry.dispose();
  expect(alive.size).toBe(0);
});
