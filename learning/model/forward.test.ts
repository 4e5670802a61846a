import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sizeOf } from '../../core/host-tensor.ts';
import { expectNear, lastTokens, NEAR, REFERENCE_MODELS, reference, rowFeatures } from '../../test/reference.ts';
import { startTensors } from '../tensors/backend.ts';
import { type BaseModel, noAdapter } from './model.ts';
import { loadModel } from './registry.ts';
import type { VisionLanguageModel } from './vision-language.ts';

/* The whole model against PyTorch, on both engines. */

interface Generation {
  readonly case: string;
  readonly max_new_tokens: number;
  readonly ids: number[][];
  readonly eos_token_id?: number[];
  readonly pad_token_id?: number;
}

const SETTINGS = REFERENCE_MODELS.flatMap((name) =>
  (['cpu', 'tensorflow'] as const).map((engine) => ({ name, engine })),
);

describe.each(SETTINGS)('$name on $engine', ({ name, engine }) => {
  const ref = reference(name);
  let model: VisionLanguageModel;
  const cases = Object.keys(ref.json.cases);
  const features = (at: string, from: BaseModel = model) => ref.features(at, from);

  beforeAll(async () => {
    await startTensors(engine, { threads: 2 });
    model = (await loadModel(join(ref.folder, 'model'))) as VisionLanguageModel;
  });

  afterAll(() => {
    model.dispose();
    expect(tf.memory().numTensors).toBe(0);
  });

  test.each(cases.filter((at) => ref.json.cases[at].images))('%s: features of tower and projector', (at) => {
    tf.tidy(() => {
      const vision = features(at)!;
      const { shape, sample_index, sample } = ref.json.cases[at].vision_features;
      expect(vision.size).toBe(sizeOf(shape));
      const values = vision.dataSync();
      expectNear(
        sample_index.map((i: number) => values[i]!),
        sample,
        NEAR.features,
        'sampled vision features',
      );
      const all = ref.expected.get(`${at}/vision_features`)?.data as Float32Array | undefined;
      if (all) expectNear(values, all, NEAR.features, 'vision features');
      const projected = model.project(vision, noAdapter);
      expectNear(projected.dataSync(), ref.numbers(`${at}/image_features`), NEAR.features, 'image features');
    });
  });

  test('embeddings, every layer and the last norm', () => {
    tf.tidy(() => {
      const seen = features('one');
      const inputs = model.inputs(ref.batch('one'), seen);
      const check = (what: string, state: tf.Tensor) =>
        expectNear(state.dataSync(), ref.numbers(`one/${what}`), NEAR.features, what);
      const names: string[] = [];
      const onState = (what: string, state: tf.Tensor2D) => {
        names.push(what);
        check(what, state);
      };
      check('final_norm', model.states(inputs, seen, noAdapter, { onState }));
      expect(names).toEqual(['inputs_embeds', 'layer_0', 'layer_1']);
    });
  });

  test.each(cases)('%s: logits, at all positions and at chosen ones', (at) => {
    tf.tidy(() => {
      const batch = ref.batch(at);
      const seen = features(at);
      const last = model.logits(batch, seen, noAdapter, lastTokens(batch));
      expectNear(last.dataSync(), ref.numbers(`${at}/logits_last`), NEAR.logits, 'last logits');
      const all = model.logits(batch, seen, noAdapter);
      expect(all.shape).toEqual([batch.rows * batch.length, last.shape[1]]);
      const places = ref.expected.get(`${at}/logits_sample_index`)!.data as Int32Array;
      const values = all.dataSync();
      const sampled = Array.from({ length: places.length / 3 }, (_, i) => {
        const [row, token, word] = places.subarray(3 * i, 3 * i + 3);
        return values[(row! * batch.length + token!) * last.shape[1] + word!]!;
      });
      expectNear(sampled, ref.numbers(`${at}/logits_sample`), NEAR.logits, 'sampled logits');
    });
  });

  test('loss of the batch, and of every token', () => {
    tf.tidy(() => {
      const batch = ref.batch('train');
      const seen = features('train');
      expect(Math.abs(model.loss(batch, seen, noAdapter).dataSync()[0]! - ref.json.cases.train.loss)).toBeLessThan(
        NEAR.loss,
      );
      const expected = ref.numbers('train/token_loss');
      const single = (at: number) => {
        const labels = new Int32Array(batch.labels!.length).fill(-100);
        labels[at + 1] = batch.labels![at + 1]!;
        return model.loss({ ...batch, labels }, seen, noAdapter).dataSync()[0]!;
      };
      const places = [...expected.keys()].filter((i) => expected[i] !== 0);
      expect(places.length).toBe(ref.json.cases.train.loss_tokens.reduce((a: number, b: number) => a + b));
      const some = engine === 'cpu' ? places.slice(-3) : places;
      expectNear(
        some.map(single),
        some.map((i) => expected[i]!),
        NEAR.loss * 4,
        'token loss',
      );
    });
  });

  test('a loss whose features are filled up to a common size is the loss of the logits', () => {
    tf.tidy(() => {
      const batch = ref.batch('mixed');
      const seen = features('mixed')!;
      const labels = batch.inputIds.map((id, i) => (batch.attentionMask[i] && id !== model.imageToken ? id : -100));
      const { features: filled } = model.lossInputs({ ...batch, labels }, seen);
      expect(filled!.shape[0]).toBe(name === 'qwen2vl' ? 48 : seen.shape[0]);
      const places = [...labels.keys()].filter((i) => (i + 1) % batch.length !== 0 && labels[i + 1]! >= 0);
      const logP = tf
        .logSoftmax(model.logits(batch, seen, noAdapter, Int32Array.from(places)))
        .arraySync() as number[][];
      const mean = places.reduce((sum, place, i) => sum - logP[i]![labels[place + 1]!]!, 0) / places.length;
      expect(Math.abs(model.loss({ ...batch, labels }, seen, noAdapter).dataSync()[0]! - mean)).toBeLessThan(NEAR.loss);
    });
  });

  test('the losses of lanes, each times its share, are the loss of the batch', () => {
    tf.tidy(() => {
      const batch = ref.batch('mixed');
      const seen = features('mixed')!;
      const labels = batch.inputIds.map((id, i) => (batch.attentionMask[i] && id !== model.imageToken ? id : -100));
      const lanes = model.lossLanes({ ...batch, labels }, seen);
      expect(lanes.length).toBe(engine === 'cpu' ? 1 : 2);
      const sum = lanes.reduce(
        (sum, { inputs, share }) => sum + share * model.lossOf(inputs, noAdapter).dataSync()[0]!,
        0,
      );
      expect(Math.abs(model.loss({ ...batch, labels }, seen, noAdapter).dataSync()[0]! - sum)).toBeLessThan(NEAR.loss);
      // A row without an answer is no lane.
      const first = labels.map((label, i) => (i < batch.length ? label : -100));
      expect(model.lossLanes({ ...batch, labels: first }, seen).map(({ share }) => share)).toEqual([1]);
    });
  });

  test.each((ref.json.generate as Generation[]).filter((g) => !g.eos_token_id))(
    'greedy generation: $case',
    ({ case: at, max_new_tokens: count, ids }) => {
      const seen = features(at);
      const before = tf.memory().numTensors;
      const result = model.generate(ref.batch(at), seen, noAdapter, count);
      expect(tf.memory().numTensors).toBe(before);
      expect(result.map((row) => row.ids)).toEqual(ids);
      // Compiled throughout, and again with the same graphs.
      const generator = model.generator(() => noAdapter);
      for (let i = 0; i < 2; i++) {
        for (const [row, again] of generator.generate(ref.batch(at), seen, count, null).entries()) {
          expect(again.ids).toEqual(result[row]!.ids);
          expectNear(again.logProbabilities, result[row]!.logProbabilities, 1e-5, 'compiled log-probabilities');
        }
      }
      generator.dispose();
      expect(tf.memory().numTensors).toBe(before);
      // Each log-probability again, from one pass over prompt and answer without a cache.
      const batch = ref.batch(at);
      const row = result.length - 1;
      const answer = ids[row]!;
      const real = [...batch.inputIds.slice(row * batch.length)].filter(
        (_, i) => batch.attentionMask[row * batch.length + i],
      );
      const inputIds = Int32Array.from([...real, ...answer]);
      const grids = batch.grids && { grids: [batch.grids[row]!] };
      const whole = { rows: 1, length: inputIds.length, inputIds, attentionMask: inputIds.map(() => 1), ...grids };
      tf.tidy(() => {
        const image = seen && rowFeatures(seen, batch, row, model.imageToken);
        const at = Int32Array.from(answer, (_, i) => real.length - 1 + i);
        const logP = tf.logSoftmax(model.logits(whole, image, noAdapter, at)).arraySync() as number[][];
        expectNear(
          result[row]!.logProbabilities,
          logP.map((p, i) => p[answer[i]!]!),
          NEAR.logits,
          'log-probabilities',
        );
      });
      seen?.dispose();
    },
  );

  test('generation ends a row at its end token, taken from generation_config.json, while others go on', async () => {
    const stop = (ref.json.generate as Generation[]).find((g) => g.eos_token_id)!;
    const folder = await mkdtemp(join(tmpdir(), 'model-'));
    await cp(join(ref.folder, 'model'), folder, { recursive: true });
    await writeFile(join(folder, 'generation_config.json'), JSON.stringify({ eos_token_id: stop.eos_token_id }));
    const stopping = await loadModel(folder);
    expect(stopping.digest).not.toBe(model.digest);
    expect(stopping.endTokens).toEqual(stop.eos_token_id);
    const seen = features(stop.case, stopping);
    const result = stopping.generate(ref.batch(stop.case), seen, noAdapter, stop.max_new_tokens);
    const unpadded = stop.ids.map((ids) => ids.filter((id) => id !== stop.pad_token_id));
    expect(result.map((row) => row.ids)).toEqual(unpadded);
    expect(unpadded[0]!.length).toBeLessThan(unpadded[1]!.length);
    // Padding on the other side and another order of rows change nothing.
    const right = stopping.generate(ref.batch('pair-right'), seen, noAdapter, stop.max_new_tokens);
    expect(right.map((row) => row.ids)).toEqual(unpadded);
    expect(stopping.generate(ref.batch('pair-right'), seen, noAdapter, 0)).toEqual(
      [0, 1].map(() => ({ ids: [], logProbabilities: [] })),
    );
    seen?.dispose();
    stopping.dispose();
    await rm(folder, { recursive: true });
  });
});
