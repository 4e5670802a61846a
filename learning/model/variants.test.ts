import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test } from 'vitest';
import { sizeOf } from '../../core/host-tensor.ts';
import { formulaNumbers, formulaWeight } from '../../test/formula-weights.ts';
import { expectNear, NEAR } from '../../test/reference.ts';
import { startTensors } from '../tensors/backend.ts';
import { padBatch } from '../training/batches.ts';
import { noAdapter } from './model.ts';
import { buildModel, defineModel } from './registry.ts';

/* Details that no other fixture has, each in a small model, against transformers: see test/interop/variants.py. */

interface Variant {
  readonly config: object;
  readonly pictures: Array<[number, number, number]>;
  readonly rows: number[][];
  readonly grids?: Array<[number, number]>;
  /** Row, token, vocabulary, logit. */
  readonly sample: Array<[number, number, number, number]>;
  readonly answers: number[][];
}

const FOLDER = fileURLToPath(new URL('../../test/fixtures/variants/', import.meta.url));

beforeAll(() => startTensors('tensorflow'));

const files = readdirSync(FOLDER);
test('there are variants', () => expect(files.length).toBeGreaterThan(5));

test.each(files)('%s', (file) => {
  const variant: Variant = JSON.parse(readFileSync(FOLDER + file, 'utf8'));
  const definition = defineModel(variant.config);
  const weights = new Map(
    [...definition.shapes].map(([name, shape]) => [name, tf.tensor(formulaWeight(name, shape), [...shape])]),
  );
  const model = buildModel(definition, (name) => weights.get(name)!);
  const features = tf.tidy(() =>
    tf.concat(
      variant.pictures.map((shape, k) =>
        model.encodeImages(tf.tensor4d(formulaNumbers(`pixels ${k}`, sizeOf(shape), 1.5), [1, ...shape])),
      ),
    ),
  );
  const samples = variant.rows.map((ids, i) => ({
    id: String(i),
    inputIds: Int32Array.from(ids),
    labels: null,
    images: [],
    references: [],
  }));
  const { grids } = variant;
  const batch = { ...padBatch(samples, 0), ...(grids && { grids }) };
  const logits = tf.tidy(() => model.logits(batch, features, noAdapter).arraySync()) as number[][];
  expectNear(
    variant.sample.map(([row, token, word]) => logits[row * batch.length + token]![word]!),
    variant.sample.map(([, , , logit]) => logit),
    NEAR.logits,
    'logits',
  );
  // No end token stops these: the answers of the reference do not stop either.
  const answers = model.generate(batch, features, noAdapter, 6).map(({ ids }) => ids);
  const untilEnd = variant.answers.map((ids) => ids.slice(0, ids.includes(1) ? ids.indexOf(1) + 1 : ids.length));
  expect(answers).toEqual(untilEnd);
  features.dispose();
  model.dispose();
  tf.dispose([...weights.values()]);
});
