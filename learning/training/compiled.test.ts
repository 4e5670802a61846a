import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { EncodedSample } from '../../core/sample.ts';
import { expectNear, REFERENCE_MODELS, reference, rowFeatures } from '../../test/reference.ts';
import { methodNamed } from '../methods/registry.ts';
import type { BaseModel } from '../model/model.ts';
import { loadModel } from '../model/registry.ts';
import { startTensors } from '../tensors/backend.ts';
import { type TrainTask, trainTask } from './train.ts';

/** Two tasks, so that every penalty is at work in the second; 20 steps of two micro-batches each. */
const METHODS: ReadonlyArray<[name: string, options: Record<string, unknown>, dropout?: number]> = [
  ['lilora', { variant: 'anchored' }],
  ['lilora', { variant: 'paper', similarityGradient: true }],
  ['lilora', { variant: 'safe' }],
  ['sequential-lora', {}],
  ['per-task-lora', {}, 0.1],
];

describe.each(REFERENCE_MODELS)('%s', (name) => {
  const ref = reference(name);
  let model: BaseModel;
  let features: tf.Tensor3D;

  beforeAll(async () => {
    await startTensors('tensorflow');
    model = await loadModel(join(ref.folder, 'model'));
    features = ref.features('train', model)!;
  });
  afterAll(() => {
    features.dispose();
    model.dispose();
    delete process.env['LILORA_EAGER'];
  });

  const batch = ref.batch('train');

  /** The rows of the reference batch, with one image each, as samples, each several times: many steps on little data. */
  function samples(): EncodedSample[] {
    const { rows, length, inputIds, attentionMask, labels, grids } = batch;
    return Array.from({ length: rows * 10 }, (_, i): EncodedSample => {
      const row = i % rows;
      const real = (values: Int32Array) =>
        values.slice(row * length, (row + 1) * length).filter((_, k) => attentionMask[row * length + k]);
      const own = { inputIds: real(inputIds), labels: real(labels!), images: [String(row)], references: [] };
      return { id: `${i}`, ...own, ...(grids && { grids: [grids[row]!] }) };
    });
  }

  async function learn(eager: boolean, method: string, options: Record<string, unknown>, dropout: number) {
    process.env['LILORA_EAGER'] = eager ? '1' : '0';
    const all = samples();
    const found = methodNamed(method);
    const losses: number[] = [];
    const reasons: Array<string | null> = [];
    let bank = null;
    for (const task of ['one', 'two']) {
      const run: TrainTask = {
        model,
        method: found,
        options: found.options.parse({ rank: 4, alpha: 8, ...(method === 'lilora' && { innerRank: 2 }), ...options }),
        layers: model.layers.filter(({ name }) => ref.json.lora.modules.includes(name)),
        bank,
        task,
        samples: task === 'one' ? all : all.slice().reverse(),
        features: (digests) =>
          tf.concat(digests.map((row) => rowFeatures(features, batch, Number(row), model.imageToken))),
        training: {
          learningRate: 1e-3,
          batchSize: 2,
          microBatchSize: 1,
          epochs: 40 / all.length,
          warmupRatio: 0.1,
          weightDecay: 0.01,
          clipNorm: 1,
          dropout,
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
    async (method, options, dropout = 0) => {
      const compiled = await learn(false, method, options, dropout);
      const eager = await learn(true, method, options, dropout);
      expect(compiled.reasons).toEqual([null, null]);
      expect(eager.reasons).toEqual(['LILORA_EAGER=1', 'LILORA_EAGER=1']);
      expectNear(compiled.losses, eager.losses, 1e-5, 'losses and penalties');
      expect([...compiled.bank.tensors.keys()]).toEqual([...eager.bank.tensors.keys()]);
      for (const [key, { data }] of compiled.bank.tensors)
        expectNear(data, eager.bank.tensors.get(key)!.data, 2e-5, key);
    },
  );
});
