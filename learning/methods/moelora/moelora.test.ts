import { beforeAll, expect, it } from 'vitest';
import { computed, LLAVA_LAYERS, wave } from '../../../test/method-numbers.ts';
import { expectNear } from '../../../test/reference.ts';
import { startTensors } from '../../tensors/backend.ts';
import { Random } from '../../training/random.ts';
import type { Method } from '../method.ts';
import { methodNamed } from '../registry.ts';

const method: Method = methodNamed('moelora');

beforeAll(async () => void (await startTensors('cpu')));

it('computes what test/reference/methods/moelora.py does', () => {
  const options = method.options.parse({ rank: 4, alpha: 8, experts: 2 });
  const tensors = { lora_A: wave(1, 4, 5), lora_B: wave(2, 3, 4), router: wave(3, 2, 5) };
  const { y } = computed(method, { options, tensors, x: wave(4, 3, 5), out: 3 });
  const expected = [
    -2.442908155, 1.684427588, -0.731302454, 1.951975608, -2.374422747, 2.522492709, -2.230245194, 2.019088484,
    -1.574615361,
  ];
  expectNear(y, expected, 1e-5, 'y');
});

it('starts A near zero and B at zero', () => {
  const options = method.options.parse({ rank: 64, experts: 8 });
  const { tensors } = method.start([{ name: 'l', in: 100, out: 20 }], options, new Random(1));
  const { data } = tensors.get('shared/l/lora_A')!;
  expect(Math.sqrt(data.reduce((sum, x) => sum + x * x, 0) / data.length)).toBeCloseTo(0.01, 3);
  expect(tensors.get('shared/l/lora_B')!.data.every((x) => x === 0)).toBe(true);
});

it('keeps one LoRA and a router', () => {
  const { parameters } = method.describe(LLAVA_LAYERS, method.options.parse({ rank: 128 }));
  expect(parameters).toEqual({ shared: 187_301_888 + 8 * 619_520, perTask: 0 });
});

it('refuses a rank that its experts cannot share', () => {
  expect(() => method.options.parse({ rank: 4 })).toThrow('does not divide the rank');
});
