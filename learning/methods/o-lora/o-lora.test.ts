import { beforeAll, expect, it } from 'vitest';
import { afterTask, computed, LLAVA_LAYERS, wave } from '../../../test/method-numbers.ts';
import { expectNear } from '../../../test/reference.ts';
import { startTensors } from '../../tensors/backend.ts';
import { Random } from '../../training/random.ts';
import type { Method } from '../method.ts';
import { methodNamed } from '../registry.ts';

const method: Method = methodNamed('o-lora');
const optionsOf = (more: object) => method.options.parse({ rank: 2, alpha: 6, ...more });
const tensors = { lora_A: wave(3, 2, 4), lora_B: wave(6, 3, 2) };

/** A bank of two earlier tasks. */
function earlier() {
  const start = method.start([{ name: 'l', in: 4, out: 3 }], optionsOf({}), new Random(1));
  return [1, 2].reduce((bank, seed) => {
    const { tensors } = method.begin(bank, `task ${seed}`, optionsOf({}), new Random(1));
    const task = { tensors, task: `task ${seed}`, constants: new Map(), earlierTasks: bank.tasks };
    const pair = { 'l/lora_A': wave(seed, 2, 4), 'l/lora_B': wave(3 + seed, 3, 2) };
    return method.finish(bank, task, new Map(Object.entries(pair)));
  }, start);
}

function run(more: object) {
  const { constants } = method.begin(earlier(), 'new', optionsOf(more), new Random(1));
  const named = Object.fromEntries([...constants].map(([key, tensor]) => [key.slice(2), tensor]));
  return computed(method, {
    options: optionsOf(more),
    tensors,
    constants: named,
    earlier: 2,
    x: wave(7, 2, 4),
    out: 3,
  });
}

beforeAll(async () => void (await startTensors('cpu')));

it('computes what test/reference/methods/o-lora.py does', () => {
  const y = [4.785693334, -7.735058402, -7.415104887, -6.931628761, 5.766024025, 8.89169802];
  expectNear(run({}).y, y, 1e-4, 'y');
  expect(run({ orthogonalityWeight: 1 }).penalty).toBeCloseTo(1.85163887, 5);
  const raw = run({ orthogonalityWeight: 1, normalize: false });
  expect(raw.penalty).toBeCloseTo(7.406555481, 5);
  const gradient = [
    0.45213316, -0.836274722, -1.731369535, -1.812174203, -0.45213316, 0.836274722, 1.731369535, 1.812174203,
  ];
  expectNear(raw.gradient('lora_A'), gradient, 1e-5, 'gradient');
  expect(run({ orthogonalityWeight: 0, normWeight: 2 }).penalty).toBeCloseTo(2 * 3.517366369, 5);
});

it('adds all tasks up, whichever is asked for, and folds to one LoRA of their ranks together', () => {
  const bank = afterTask(method, earlier(), 'new', tensors);
  const { y } = run({});
  const active = method.activate(bank, 'task 1');
  const summed = computed(method, {
    options: optionsOf({}),
    tensors: { lora_A: active.get('l/lora_A')!, lora_B: active.get('l/lora_B')! },
    x: wave(7, 2, 4),
    out: 3,
  });
  expectNear(summed.y, y, 1e-5, 'y');
  const { rank, alpha, layers } = method.fold!(bank, 'new');
  expect([rank, alpha, layers.get('l')!.A.shape, layers.get('l')!.B.shape]).toEqual([6, 18, [6, 4], [3, 6]]);
});

it('keeps a LoRA per task', () => {
  const { parameters } = method.describe(LLAVA_LAYERS, optionsOf({ rank: 128 }));
  expect(parameters).toEqual({ shared: 0, perTask: 187_301_888 });
});
