import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { expectNear, REFERENCE_MODELS } from '../../test/reference.ts';
import { type SmallLearning, smallLearning } from '../../test/small-learning.ts';
import { methodNamed } from '../methods/registry.ts';
import { startTensors } from '../tensors/backend.ts';
import { type TrainTask, trainTask } from './train.ts';

/** Two tasks, so that every penalty is at work in the second; 20 steps of two micro-batches, or of one in two lanes. */
const METHODS: ReadonlyArray<[name: string, options: Record<string, unknown>, dropout?: number, microBatch?: number]> =
  [
    ['lilora', { variant: 'anchored' }],
    ['lilora', { variant: 'paper', similarityGradient: true }],
    ['lilora', { variant: 'safe' }],
    ['lilora', { anchorMetric: 'fisher', innerRank: undefined, innerShare: 0.5 }],
    ['sequential-lora', {}, 0, 2],
    ['per-task-lora', {}, 0.1, 2],
  ];

describe.each(REFERENCE_MODELS)('%s', (name) => {
  let small: SmallLearning;

  beforeAll(async () => {
    await startTensors('tensorflow', { threads: 2 });
    small = await smallLearning(name);
  });
  afterAll(() => {
    small.dispose();
    delete process.env['LILORA_EAGER'];
  });

  async function learn(
    eager: boolean,
    method: string,
    options: Record<string, unknown>,
    dropout: number,
    microBatchSize: number,
    gradientCheckpointing = false,
  ) {
    process.env['LILORA_EAGER'] = eager ? '1' : '0';
    const all = small.samples(10);
    const found = methodNamed(method);
    const losses: number[] = [];
    const reasons: Array<string | null> = [];
    let bank = null;
    for (const task of ['one', 'two']) {
      const run: TrainTask = {
        model: small.model,
        method: found,
        options: found.options.parse({ rank: 4, alpha: 8, ...(method === 'lilora' && { innerRank: 2 }), ...options }),
        layers: small.layers,
        bank,
        task,
        samples: task === 'one' ? all : all.slice().reverse(),
        features: small.features,
        training: {
          learningRate: 1e-3,
          batchSize: 2,
          microBatchSize,
          epochs: 40 / all.length,
          warmupRatio: 0.1,
          weightDecay: 0.01,
          clipNorm: 1,
          dropout,
          gradientCheckpointing,
        },
        seed: 1,
        identity: {},
        checkpointSeconds: Number.POSITIVE_INFINITY,
        signal: new AbortController().signal,
        onProgress: ({ loss, penalty }) => losses.push(loss, penalty),
      };
      const done = await trainTask(run);
      bank = done.bank;
      reasons.push(done.whyEager);
      expect(done.steps).toBe(20);
    }
    return { losses, bank: bank!, reasons };
  }

  // One family member runs them all; the other, built otherwise, the default.
  test.each(name === 'llava-mha' ? METHODS : METHODS.slice(0, 1))(
    '%s %o: compiled steps are the eager ones',
    { timeout: 120_000 },
    async (method, options, dropout = 0, micro = 1) => {
      const compiled = await learn(false, method, options, dropout, micro);
      const eager = await learn(true, method, options, dropout, micro);
      expect(compiled.reasons).toEqual([null, null]);
      expect(eager.reasons).toEqual(['LILORA_EAGER=1', 'LILORA_EAGER=1']);
      expectNear(compiled.losses, eager.losses, 1e-5, 'losses and penalties');
      expect([...compiled.bank.tensors.keys()]).toEqual([...eager.bank.tensors.keys()]);
      for (const [key, { data }] of compiled.bank.tensors)
        expectNear(data, eager.bank.tensors.get(key)!.data, 2e-5, key);
    },
  );

  test.each(name === 'llava-mha' ? [METHODS[0]!, METHODS.at(-1)!] : METHODS.slice(0, 1))(
    '%s %o: layers that are computed again on the way back give the same gradients',
    { timeout: 120_000 },
    async (method, options, dropout = 0, micro = 1) => {
      const plain = await learn(false, method, options, dropout, micro);
      for (const eager of name === 'llava-mha' ? [true, false] : [false]) {
        const again = await learn(eager, method, options, dropout, micro, true);
        expectNear(again.losses, plain.losses, 1e-5, 'losses and penalties');
        for (const [key, { data }] of again.bank.tensors)
          expectNear(data, plain.bank.tensors.get(key)!.data, 2e-5, key);
      }
    },
  );
});
