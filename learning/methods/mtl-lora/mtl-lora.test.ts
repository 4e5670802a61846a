import { beforeAll, expect, it } from 'vitest';
import { computed, LLAVA_LAYERS, wave } from '../../../test/method-numbers.ts';
import { expectNear } from '../../../test/reference.ts';
import { startTensors } from '../../tensors/backend.ts';
import { Random } from '../../training/random.ts';
import type { Method } from '../method.ts';
import { methodNamed } from '../registry.ts';

const method: Method = methodNamed('mtl-lora');
const optionsOf = (more: object) => method.options.parse({ rank: 2, alpha: 6, ...more });
const weights = { shape: [3], data: wave(3, 3).data.map((x) => x / 5) };
const shared = { lora_A: wave(1, 2, 4), lora_B: wave(2, 3, 3, 2) };
const x = wave(4, 2, 4);

beforeAll(async () => void (await startTensors('cpu')));

it('computes what test/reference/methods/mtl-lora.py does', () => {
  const full = computed(method, {
    options: optionsOf({ stabilityWeight: 1 }),
    tensors: { ...shared, weights, lambda: wave(5, 2, 2) },
    constants: { lora_A_start: wave(6, 2, 4), lora_B_start: wave(7, 3, 3, 2) },
    x,
    out: 3,
  });
  const y = [2.868425878, -1.885684034, -3.509434534, -2.61796769, 1.921833198, 3.271264686];
  expectNear(full.y, y, 1e-5, 'full');
  expect(full.penalty).toBeCloseTo(18.055758512, 4);
  const tensors = { ...shared, weights, lambda: wave(5, 2) };
  const diagonal = computed(method, { options: optionsOf({ diagonal: true }), tensors, x, out: 3 });
  const other = [2.360384818, 1.190652027, -1.955641372, -2.075260082, -1.249801201, 1.650409803];
  expectNear(diagonal.y, other, 1e-5, 'diagonal');
});

it('trains what all tasks share in the first one, and afterwards only when asked', () => {
  const trained = (sharedFactors: string) => {
    const options = optionsOf({ sharedFactors });
    const start = method.start([{ name: 'l', in: 4, out: 3 }], options, new Random(1));
    const begun = (bank: typeof start) => method.begin(bank, 'b', options, new Random(2));
    const first = method.finish(start, { ...begun(start), task: 'a' }, new Map());
    const keys = (bank: typeof start) => [...begun(bank).tensors].flatMap(([key, t]) => (t.trained ? [key] : []));
    return { first: keys(start), second: keys(first), constants: [...begun(first).constants.keys()] };
  };
  const all = ['l/lora_A', 'l/lora_B', 'l/lambda', 'l/weights'];
  const starts = ['l/lora_A_start', 'l/lora_B_start'];
  expect(trained('frozen-after-first')).toEqual({ first: all, second: all.slice(2), constants: [] });
  expect(trained('regularized')).toEqual({ first: all, second: all, constants: starts });
});

it('folds a diagonal too', () => {
  const options = optionsOf({ diagonal: true });
  const start = method.start([{ name: 'l', in: 4, out: 3 }], options, new Random(1));
  const trainable = method.begin(start, 'a', options, new Random(1));
  const given = Object.entries({ ...shared, weights, lambda: wave(5, 2) });
  const bank = method.finish(start, trainable, new Map(given.map(([name, tensor]) => [`l/${name}`, tensor])));
  const { A } = method.fold!(bank, 'a').layers.get('l')!;
  expectNear(
    A.data,
    shared.lora_A.data.map((a, i) => a * wave(5, 2).data[i < 4 ? 0 : 1]!),
    1e-6,
    'Λ A',
  );
});

it('keeps per layer r·in + n·r·out shared and r² + n per task', () => {
  const parameters = (more: object) => method.describe(LLAVA_LAYERS, optionsOf({ rank: 128, ...more })).parameters;
  expect(parameters({})).toEqual({ shared: 79_298_560 + 3 * 108_003_328, perTask: 98 * (128 * 128 + 3) });
  expect(parameters({ diagonal: true }).perTask).toBe(98 * (128 + 3));
});
