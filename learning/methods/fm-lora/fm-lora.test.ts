import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { computed, LLAVA_LAYERS, wave } from '../../../test/method-numbers.ts';
import { expectNear } from '../../../test/reference.ts';
import { startTensors } from '../../tensors/backend.ts';
import { Random } from '../../training/random.ts';
import { bindTrainable } from '../adapter.ts';
import { readBank, writeBank } from '../bank.ts';
import { type Bank, foldOf, type Method } from '../method.ts';
import { methodNamed } from '../registry.ts';
import { widthOf } from './width.ts';

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

describe('a prompt', () => {
  const blocks = [
    { name: 'm.layers.0.mlp.up_proj', in: 4, out: 6 },
    { name: 'm.layers.0.mlp.down_proj', in: 6, out: 4 },
  ];
  const options = (more: object = {}) => optionsOf({ promptTokens: 5, ...more });
  /** The bank after a first task that moved the prompt, and what is trained for a second one. */
  const second = (given: ReturnType<typeof options>) => {
    const start = method.start(blocks, given, new Random(1));
    const first = method.begin(start, 'a', given, new Random(1));
    const bank = method.finish(start, first, new Map([['model/prompt', wave(7, 5, 4)]]));
    return { start, bank, trainable: method.begin(bank, 'b', given, new Random(1)) };
  };

  it('is shared by all tasks, and frozen with the factors', () => {
    const { start, bank, trainable } = second(options());
    expect(start.tensors.get('model/prompt')!.shape).toEqual([5, 4]);
    expect(bank.tensors.get('model/prompt')).toEqual(wave(7, 5, 4));
    expect(method.activate(bank, 'a').get('model/prompt')).toEqual(wave(7, 5, 4));
    expect(trainable.tensors.get('model/prompt')).toEqual({ start: wave(7, 5, 4), place: 'shared', trained: false });
    expect(method.describe(blocks, options()).shared).toEqual(['lora_A', 'lora_B', 'prompt']);
    expect(method.describe(blocks, options()).parameters.shared).toBe(3 * (10 + 10) + 5 * 4);
    expect(readBank(writeBank(bank), 'bank').tensors.get('model/prompt')).toEqual(wave(7, 5, 4));
    expect(() => method.begin(bank, 'b', options({ promptTokens: 4 }), new Random(1))).toThrow('promptTokens = 5');
  });

  it('is held where it was when the factors are', () => {
    const given = options({ sharedFactors: 'regularized', stabilityWeight: 0.5 });
    const bound = bindTrainable(method, given, blocks, second(given).trainable);
    expect(bound.variables.has('model/prompt')).toBe(true);
    expect(bound.adapt.prefix).toBe(bound.variables.get('model/prompt'));
    const penalty = () => method.penalty!(bound.active, given, second(given).trainable).dataSync()[0]!;
    expect(penalty()).toBe(0);
    const prompt = bound.variables.get('model/prompt')!;
    prompt.assign(tf.add(prompt, 0.3));
    expect(penalty()).toBeCloseTo(0.5 * 5 * 4 * 0.3 ** 2, 5);
    bound.dispose();
  });

  it('makes no LoRA of a task, and needs a layer of a block to know its width', () => {
    expect([foldOf(method, options()), foldOf(method, optionsOf({}))]).toEqual([null, method.fold]);
    const projector = [{ name: 'm.projector', in: 4, out: 6 }];
    expect(() => method.start(projector, options(), new Random(1))).toThrow('no layer of its blocks is adapted');
    expect(widthOf(blocks.slice(1))).toBe(4);
  });
});

it('goes on with a bank of before there were prompts', () => {
  const bank = method.start(layers, optionsOf({}), new Random(1));
  expect('promptTokens' in bank.options).toBe(false);
  expect(() => method.begin(bank, 'a', optionsOf({ promptTokens: 2 }), new Random(1))).toThrow('started with prompt');
});

it('refuses a candidate above the rank', () => {
  expect(() => optionsOf({ rankCandidates: [4] })).toThrow('names a rank above the rank');
});
