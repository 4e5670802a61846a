import { beforeAll, expect, it } from 'vitest';
import { afterTask, computed, LLAVA_LAYERS, wave } from '../../../test/method-numbers.ts';
import { expectNear } from '../../../test/reference.ts';
import { startTensors } from '../../tensors/backend.ts';
import { Random } from '../../training/random.ts';
import type { Method } from '../method.ts';
import { methodNamed } from '../registry.ts';

const method: Method = methodNamed('c-lora');
const optionsOf = (more: object) => method.options.parse({ rank: 2, alpha: 6, ...more });
const tensors = { lora_A: wave(1, 2, 4), lora_B: wave(2, 3, 2), routing: wave(3, 2, 2), routing_new: wave(4, 2, 2) };
const run = (more: object, earlier = 1) =>
  computed(method, { options: optionsOf(more), tensors, earlier, x: wave(5, 2, 4), out: 3 });

beforeAll(async () => void (await startTensors('cpu')));

it('computes what test/reference/methods/c-lora.py does', () => {
  const { y } = run({});
  expectNear(y, [0.646968493, -2.93525315, -1.644761676, 1.067038919, 2.780519171, -0.12184512], 1e-5, 'y');
  const [columns, rows, both] = (['columns', 'rows', 'both'] as const).map((orthogonality) =>
    run({ orthogonality, orthogonalityWeight: 2 }),
  );
  expectNear(
    [columns!, rows!, both!].map(({ penalty }) => penalty / 2),
    [20.439924973, 0.887090254, 21.327015227],
    1e-4,
    'overlaps',
  );
  const gradient = columns!.gradient('routing_new').map((x) => x / 2);
  expectNear(gradient, [-17.025737337, -13.535376928, -15.767897958, -12.491701729], 1e-4, 'gradient of columns');
  const other = rows!.gradient('routing_new').map((x) => x / 2);
  expectNear(other, [1.14662285, -1.272849697, -2.344294876, 2.428558516], 1e-5, 'gradient of rows');
  expect([...columns!.gradient('routing')]).toEqual([0, 0, 0, 0]);
  expect(run({}, 0).penalty, 'in the first task').toBe(0);
});

it('adds the new routes to the old ones, and starts later tasks where the last one ended', () => {
  const layers = [{ name: 'l', in: 4, out: 3 }];
  const { lora_A, lora_B, routing, routing_new } = tensors;
  let bank = method.start(layers, optionsOf({}), new Random(1));
  bank = afterTask(method, bank, 'a', { lora_A, lora_B, routing_new: routing });
  bank = afterTask(method, bank, 'b', { lora_A, lora_B, routing_new });
  const sum = routing.data.map((x, i) => x + routing_new.data[i]!);
  expectNear(bank.tensors.get('shared/l/routing')!.data, sum, 1e-6, 'routing');
  const begun = method.begin(bank, 'c', optionsOf({}), new Random(1)).tensors;
  expect([...begun.get('l/routing_new')!.start.data]).toEqual([0, 0, 0, 0]);
  expect(begun.get('l/routing')!.trained).toBe(false);
});

it('freezes A and B after the first task when asked', () => {
  const options = optionsOf({ freezeFactorsAfterFirst: true });
  const layers = [{ name: 'l', in: 4, out: 3 }];
  const trained = (bank: ReturnType<Method['start']>) =>
    [...method.begin(bank, 'next', options, new Random(1)).tensors].flatMap(([key, { trained }]) =>
      trained ? [key] : [],
    );
  const start = method.start(layers, options, new Random(1));
  expect(trained(start)).toEqual(['l/lora_A', 'l/lora_B', 'l/routing_new']);
  expect(trained(afterTask(method, start, 'a', { routing_new: tensors.routing }))).toEqual(['l/routing_new']);
});

it('keeps one LoRA and a routing matrix', () => {
  const { parameters } = method.describe(LLAVA_LAYERS, optionsOf({ rank: 128 }));
  expect(parameters).toEqual({ shared: 187_301_888 + 98 * 128 * 128, perTask: 0 });
});
