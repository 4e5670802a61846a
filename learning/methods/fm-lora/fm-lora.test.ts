import { beforeAll, expect, it } from 'vitest';
import { computed, LLAVA_LAYERS, wave } from '../../../test/method-numbers.ts';
import { expectNear } from '../../../test/reference.ts';
import { startTensors } from '../../tensors/backend.ts';
import { Random } from '../../training/random.ts';
import type { Bank, Method } from '../method.ts';
import { methodNamed } from '../registry.ts';

const method: Method = methodNamed('fm-lora');
const optionsOf = (more: object) => method.options.parse({ rank: 3, alpha: 6, ...more });
const tensors = { lora_A: wave(1, 3, 4), lora_B: wave(2, 2, 3), M: wave(3, 3, 3), N: wave(4, 3, 3) };
const x = wave(5, 2, 4);
const layers = [{ name: 'l', in: 4, out: 2 }];

beforeAll(async () => void (await startTensors('cpu')));

it('computes what test/reference/methods/fm-lora.py does', () => {
  const whole = computed(method, { options: optionsOf({}), tensors, x, out: 2 });
  expectNear(whole.y, [0.346746431, 0.256444618, -0.619126907, -0.297589655], 1e-5, 'y');
  const choosing = computed(method, {
    options: optionsOf({ rankCandidates: [1, 3], rankWeight: 0.3 }),
    tensors: { ...tensors, rank_logits: wave(6, 2) },
    x,
    out: 2,
  });
  expectNear(choosing.y, [0.128900488, 0.223781603, -0.216478509, -0.300199364], 1e-5, 'y while it chooses');
  expect(choosing.penalty).toBeCloseTo(0.1 * (1 + 2 * 0.664690029), 6);
});

it('keeps the most probable rank', () => {
  const options = optionsOf({ rankCandidates: [1, 2] });
  const start = method.start(layers, options, new Random(1));
  const logits = (values: number[]) => ({ shape: [2], data: Float32Array.from(values) });
  const columns = (values: number[]) => {
    const given = Object.entries({ ...tensors, rank_logits: logits(values) });
    const trainable = method.begin(start, 'a', options, new Random(1));
    const bank = method.finish(start, trainable, new Map(given.map(([name, tensor]) => [`l/${name}`, tensor])));
    const { data } = bank.tensors.get('tasks/a/l/M')!;
    expect([...bank.tensors.keys()].filter((key) => key.includes('logits'))).toEqual([]);
    return [0, 1, 2].map((column) => [0, 1, 2].some((row) => data[3 * row + column] !== 0));
  };
  expect(columns([1, 0])).toEqual([true, false, false]);
  expect(columns([0, 1])).toEqual([true, true, false]);
});

it('starts every task at the base model, later ones in the frozen subspace', () => {
  const options = optionsOf({});
  const start = method.start(layers, options, new Random(1));
  const first = method.begin(start, 'a', options, new Random(1));
  expect([...first.tensors.get('l/N')!.start.data]).toEqual([1, 0, 0, 0, 1, 0, 0, 0, 1]);
  const bank: Bank = method.finish(start, first, new Map([['l/lora_B', tensors.lora_B]]));
  const second = method.begin(bank, 'b', options, new Random(1)).tensors;
  expect(second.get('l/N')!.start.data.every((n) => n === 0)).toBe(true);
  expect([...second].flatMap(([key, { trained }]) => (trained ? [key] : []))).toEqual(['l/M', 'l/N']);
});

it('keeps one LoRA for all and 2r² per layer and task', () => {
  const { parameters } = method.describe(LLAVA_LAYERS, optionsOf({ rank: 128 }));
  expect(parameters).toEqual({ shared: 187_301_888, perTask: 98 * 2 * 128 * 128 });
});

it('refuses a candidate above the rank', () => {
  expect(() => optionsOf({ rankCandidates: [4] })).toThrow('names a rank above the rank');
});
