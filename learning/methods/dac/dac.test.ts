import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, it } from 'vitest';
import { afterTask, computed, LLAVA_LAYERS, wave } from '../../../test/method-numbers.ts';
import { expectNear } from '../../../test/reference.ts';
import { promptRows } from '../../model/rows.ts';
import { startTensors } from '../../tensors/backend.ts';
import { Random } from '../../training/random.ts';
import type { Method } from '../method.ts';
import { methodNamed } from '../registry.ts';

const method: Method = methodNamed('dac');
const optionsOf = (more: object) =>
  method.options.parse({ rank: 4, alpha: 12, activeExperts: 2, mergedExperts: 2, ...more });
/** Three samples of two tokens, the second the negative of its wave. */
const x = { shape: [6, 5], data: wave(7, 6, 5).data.map((value, i) => (i >= 10 && i < 20 ? -value : value)) };
const rows = () => promptRows({ rows: 3, length: 2, prompt: tf.ones([3, 2]) });
const pair = { lora_A: wave(1, 4, 5), lora_B: wave(2, 3, 4) };
const run = (more: object) =>
  computed(method, {
    options: optionsOf(more),
    tensors: { ...pair, router: wave(3, 4, 5), router_bias: wave(4, 4) },
    constants: { lora_A_earlier: wave(5, 2, 5), lora_B_earlier: wave(6, 3, 2) },
    earlier: 1,
    ...{ x, out: 3, rows },
  });

beforeAll(async () => void (await startTensors('cpu')));

it('computes what test/reference/methods/dac.py does', () => {
  const batch = [
    1.792774401, -0.403916098, -5.62843714, -5.749303467, 1.043708404, 7.33646708, -10.796120086, 3.496244063,
    6.267107392, 13.02238151, -3.862939772, -6.04611195, 13.35485437, -3.506255263, -5.255961881, -12.242877934,
    2.96190784, 3.56455875,
  ];
  expectNear(run({}).y, batch, 5e-5, 'batch, weighted');
  const sample = [
    0.693383694, 0.987625901, -7.151330353, -3.963993827, -0.979477779, 9.363739882, -16.754447274, 12.058656419,
    -3.909957842, 17.243287246, -10.614543737, 2.456006498, 9.455397195, 0.289260054, -8.508943357, -9.066865871,
    0.064842008, 5.847906985,
  ];
  expectNear(run({ mask: 'sample', weightByGate: false }).y, sample, 5e-5, 'sample, unweighted');
  const { penalty, gradient } = run({ orthogonalityWeight: 1 });
  expect(penalty).toBeCloseTo(2.05882773, 5);
  expect(run({ orthogonalityWeight: 1, overlap: 'mean' }).penalty).toBeCloseTo(2.05882773 / 4, 5);
  const reached = [...gradient('lora_B')].map((g, i) => [i % 4, g !== 0] as const);
  expect(new Set(reached.filter(([, any]) => any).map(([expert]) => expert)), 'experts').toEqual(new Set([0, 1]));
});

it('keeps the strongest experts of every task and runs on all of them', () => {
  const start = method.start([{ name: 'l', in: 5, out: 3 }], optionsOf({}), new Random(1));
  const first = afterTask(method, start, 'a', pair);
  const kept = (name: string) => [...first.tensors.get(`tasks/a/l/${name}`)!.data];
  expect(kept('lora_A')).toEqual([...pair.lora_A.data.subarray(0, 10)]);
  const { data } = pair.lora_B;
  expect(kept('lora_B')).toEqual([0, 1, 4, 5, 8, 9].map((i) => data[i]));
  expect([...first.tensors.keys()]).toEqual(['tasks/a/l/lora_A', 'tasks/a/l/lora_B']);
  const second = afterTask(method, first, 'b', { lora_A: wave(5, 4, 5), lora_B: wave(6, 3, 4) });
  const { rank, alpha, layers } = method.fold!(second, 'a');
  expect([rank, alpha, layers.get('l')!.A.shape]).toEqual([4, 12, [4, 5]]);
});

it('keeps the merged experts alone', () => {
  const options = method.options.parse({ rank: 128, mergedExperts: 42 });
  expect(method.describe(LLAVA_LAYERS, options).parameters).toEqual({ shared: 0, perTask: (187_301_888 / 128) * 42 });
  expect(method.options.parse({ rank: 12 })).toMatchObject({ activeExperts: 8, mergedExperts: 4 });
  expect(() => method.options.parse({ rank: 4, activeExperts: 5 })).toThrow('above the rank');
});
