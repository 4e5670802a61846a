import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { HostTensor } from '../../core/host-tensor.ts';
import { pretend } from '../../test/pretend.ts';
import { expectNear } from '../../test/reference.ts';
import { prompts, type SmallLearning, smallLearning, smallOptions } from '../../test/small-learning.ts';
import { evaluateTask } from '../evaluation/evaluate.ts';
import { scorerNamed } from '../evaluation/scorers.ts';
import { noAdapter } from '../model/model.ts';
import { startTensors } from '../tensors/backend.ts';
import { padBatch } from '../training/batches.ts';
import { Random } from '../training/random.ts';
import { type TrainTask, trainTask } from '../training/train.ts';
import { bindAdapter, bindLora } from './adapter.ts';
import { readBank, writeBank } from './bank.ts';
import { type Bank, foldOf } from './method.ts';
import { methodNamed, methodNames } from './registry.ts';

/* What holds for every method of the registry: a new one is tested by its line there. */

const layers = [
  { name: 'm.layers.0.mlp.up_proj', in: 12, out: 10 },
  { name: 'm.layers.0.mlp.down_proj', in: 10, out: 16 },
];

/** Every method, and those that compute something else with an option. */
const CASES: Array<[title: string, name: string, more: object]> = [
  ...methodNames().map((name): [string, string, object] => [name, name, {}]),
  ['fm-lora with a prompt', 'fm-lora', { promptTokens: 3 }],
];

const numbersOf = (tensors: Iterable<[string, HostTensor]>) => [...tensors].map(([key, { data }]) => [key, [...data]]);
const underTask = (bank: Bank, task: string) => [...bank.tensors].filter(([key]) => key.startsWith(`tasks/${task}/`));
const count = (tensors: Iterable<[string, HostTensor]>) =>
  [...tensors].reduce((sum, [, { data }]) => sum + data.length, 0);

describe.each(CASES)('%s', (_, name, more) => {
  const method = methodNamed(name);
  const options = method.options.parse({ ...smallOptions(name), ...more });
  const two = () =>
    pretend(method, pretend(method, method.start(layers, options, new Random(1)), 'a', options), 'b', options);

  it('has options that are complete by themselves, and stay what they are', () => {
    const defaults = method.options.parse({});
    expect(method.options.parse(defaults)).toEqual(defaults);
    expect(() => method.options.parse({ noSuchOption: 1 })).toThrow(/noSuchOption/);
  });

  it('has one adapter for all tasks exactly when the task need not be named', () => {
    const bank = two();
    const [a, b] = ['a', 'b'].map((task) => numbersOf(method.activate(bank, task)));
    if (method.needsTask) expect(a).not.toEqual(b);
    else expect(a).toEqual(b);
  });

  describe('on a model', () => {
    let small: SmallLearning;
    let first: Bank;
    let second: Awaited<ReturnType<typeof learn>>;
    beforeAll(async () => {
      await startTensors('tensorflow');
      small = await smallLearning('llava-mha');
      process.env['LILORA_EAGER'] = '1';
      first = (await learn(null)).bank;
      second = await learn(first);
    });
    afterAll(() => small.dispose());
    beforeEach(() => {
      process.env['LILORA_EAGER'] = '1';
      return () => void Reflect.deleteProperty(process.env, 'LILORA_EAGER');
    });

    const STEPS = 4;
    /** Different pictures, the same length: one graph for all batches. */
    const samples = () => {
      const [sample] = small.samples(1);
      return Array.from({ length: 2 * STEPS }, (_, i) => ({ ...sample!, id: `${i}`, images: [`${i % 2}`] }));
    };
    async function learn(bank: Bank | null, more: Partial<TrainTask> = {}) {
      const losses: number[] = [];
      const checkpoints: Uint8Array[] = [];
      const run: TrainTask = {
        ...{ model: small.model, layers: small.layers, features: small.features },
        ...{ method, options, bank, task: bank ? 'second' : 'first', samples: samples() },
        training: {
          ...{ learningRate: 1e-2, batchSize: 2, microBatchSize: 2, epochs: 1 },
          ...{ warmupRatio: 0, weightDecay: 0.01, clipNorm: 1, dropout: 0.1 },
        },
        ...{ seed: 1, identity: {}, checkpointSeconds: 0, signal: new AbortController().signal },
        onProgress: ({ loss, penalty }) => void losses.push(loss, penalty),
        onCheckpoint: async (bytes) => void checkpoints.push(bytes),
        rehearsed: bank && method.rehearsal?.(options) ? [{ task: 'first', samples: small.samples(1) }] : [],
        ...more,
      };
      const done = await trainTask(run);
      return { ...done, losses, checkpoints };
    }
    it('learns two tasks, and ends in the same bits when it goes on from a checkpoint', async () => {
      expect(second.bank.tasks).toEqual(['first', 'second']);
      for (const [key, { data }] of second.bank.tensors) expect(data.every(Number.isFinite), key).toBe(true);
      if (second.steps === 0) return;
      const rest = await learn(first, { resume: second.checkpoints[1]! });
      expect(rest.losses).toEqual(second.losses.slice(4));
      expect(numbersOf(rest.bank.tensors)).toEqual(numbersOf(second.bank.tensors));
    });

    it('keeps as many numbers as it says', () => {
      const { shared, perTask, parameters } = method.describe(small.layers, options);
      const { training = { shared: 0, perTask: 0 } } = parameters;
      const own = count(underTask(second.bank, 'second'));
      const wanted = { shared: parameters.shared + training.shared, own: parameters.perTask + training.perTask };
      expect({ shared: count(second.bank.tensors) - 2 * own, own }).toEqual(wanted);
      expect([shared.length > 0, perTask.length > 0]).toEqual([parameters.shared > 0, parameters.perTask > 0]);
    });

    it('computes compiled what it computes operation by operation', async () => {
      process.env['LILORA_EAGER'] = '0';
      const compiled = await learn(first);
      expect(compiled.whyEager).toBe(null);
      // Where the best are chosen, rounding decides between equals.
      expectNear(compiled.losses, second.losses, method.route ? 1e-3 : 1e-4, 'losses and penalties');
      for (const [key, { data }] of compiled.bank.tensors)
        expectNear(data, second.bank.tensors.get(key)!.data, 1e-3, key);
    });

    it('answers both tasks from a bank that was written and read, and as the LoRA that it folds to', async () => {
      const bank = readBank(writeBank(second.bank), 'bank');
      const asked = prompts(small.samples(2));
      for (const task of bank.tasks) {
        const adapter = bindAdapter(bank, task);
        const generator = small.model.generator(adapter.of);
        const { predictions } = await evaluateTask({
          ...{ model: small.model, generator, parameters: adapter.parameters, samples: asked },
          ...{ decode: (ids) => ids.join(' '), features: small.features, scorer: scorerNamed('exact') },
          ...{ maxNewTokens: 4, batchSize: 2, signal: new AbortController().signal, onProgress: () => {} },
        });
        expect(predictions.every(({ text }) => text.length > 0)).toBe(true);
        const fold = foldOf(method, options);
        if (fold) {
          const folded = bindLora(fold(bank, task));
          const batch = padBatch(asked.slice(0, 2), small.model.padToken);
          const features = small.features(['0', '1']);
          const [own, plain] = [adapter, folded].map(({ adapt }) => small.model.logits(batch, features, adapt));
          expectNear(plain!.dataSync(), own!.dataSync(), 2e-4, `${task} folded`);
          for (const one of [folded, features, own!, plain!]) one.dispose();
        }
        generator.dispose();
        adapter.dispose();
      }
    });

    if (method.safe)
      it('leaves earlier tasks as they are in safe mode', async () => {
        const { bank } = await learn(first, { options: method.safe!(options) });
        expect(numbersOf(method.activate(bank, 'first'))).toEqual(numbersOf(method.activate(first, 'first')));
      });

    if (method.consolidate)
      it('protects earlier tasks after training, and goes all the way back when asked', () => {
        for (const strength of [0, 1]) {
          const done = method.consolidate!(first, second.bank, 'second', strength);
          expect(done.drift.map(({ task }) => task)).toEqual(['first']);
          expect([...done.bank.tensors.keys()].sort()).toEqual([...second.bank.tensors.keys()].sort());
        }
      });

    // A prompt is seen from the first step on.
    if (!method.prefix || foldOf(method, options))
      it('starts the first task at the base model', () => {
        const bank: Bank = method.start(small.layers, options, new Random(1));
        const trainable = method.begin(bank, 'first', options, new Random(2));
        const begun = method.finish(
          bank,
          trainable,
          new Map([...trainable.tensors].map(([k, { start }]) => [k, start])),
        );
        const adapter = bindAdapter(begun, 'first');
        const batch = padBatch(prompts(small.samples(1)), small.model.padToken);
        const features = small.features(['0', '1']);
        const [own, base] = [adapter.adapt, noAdapter].map((adapt) => small.model.logits(batch, features, adapt));
        expectNear(own!.dataSync(), base!.dataSync(), 1e-6, 'logits');
        for (const one of [adapter, features, own!, base!]) one.dispose();
      });
  });
});
