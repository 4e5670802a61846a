import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import type { HostTensor } from '../core/host-tensor.ts';
import type { EncodedSample } from '../core/sample.ts';
import type { Active, Bank, Method, TrainableTensor } from '../learning/methods/method.ts';
import { batchTargets, lossOfAnswers, promptMask, type Targets } from '../learning/model/batch.ts';
import type { Adapt, AdaptedLayer, Answers, BaseModel, TokenBatch } from '../learning/model/model.ts';
import { onRows, promptRows } from '../learning/model/rows.ts';
import { gatherRows } from '../learning/tensors/ops.ts';
import { Random } from '../learning/training/random.ts';
import type { TrainTask } from '../learning/training/train.ts';

const [VOCABULARY, WIDTH, RANK] = [12, 6, 3];

type LossInputs = { ids: tf.Tensor1D; prompt: tf.Tensor2D; targets: Targets };

/** A language model of one linear layer: small enough to see what training does, and it runs on every engine. */
export class ToyModel implements BaseModel {
  readonly family = 'toy';
  readonly digest = 'toy';
  readonly layers: readonly AdaptedLayer[] = [
    { name: 'body', in: WIDTH, out: WIDTH },
    { name: 'head', in: WIDTH, out: VOCABULARY },
  ];
  readonly contextLength = 32;
  readonly endTokens = [1];
  readonly padToken = 0;
  readonly imageToken = 11;
  private readonly weights: Record<'embed' | 'body' | 'head', tf.Tensor2D>;

  constructor() {
    const random = new Random(3);
    const weight = (rows: number, cols: number) =>
      tf.tensor2d(
        Array.from({ length: rows * cols }, () => random.normal()),
        [rows, cols],
      );
    this.weights = {
      embed: weight(VOCABULARY, WIDTH),
      body: weight(WIDTH, WIDTH),
      head: weight(WIDTH, VOCABULARY),
    };
  }

  encodeImages(): tf.Tensor3D {
    throw new Error('A toy has no tower.');
  }

  generator(): never {
    throw new Error('A toy does not speak.');
  }

  generate(): never {
    throw new Error('A toy does not speak.');
  }

  logits(batch: TokenBatch, _features: tf.Tensor3D | null, adapt: Adapt, positions?: Int32Array): tf.Tensor2D {
    const ids = positions ? Int32Array.from(positions, (i) => batch.inputIds[i]!) : batch.inputIds;
    return tf.tidy(() => this.logitsOf(tf.tensor1d(ids, 'int32'), adapt));
  }

  hidden(batch: TokenBatch, _features: tf.Tensor3D | null, adapt: Adapt): tf.Tensor2D {
    return tf.tidy(() => this.statesOf(tf.tensor1d(batch.inputIds, 'int32'), adapt));
  }

  private linear(layer: 'body' | 'head', x: tf.Tensor2D, adapt: Adapt): tf.Tensor2D {
    return adapt(layer, x, tf.matMul(x, this.weights[layer]) as tf.Tensor2D);
  }

  private statesOf(ids: tf.Tensor1D, adapt: Adapt): tf.Tensor2D {
    return tf.tanh(this.linear('body', gatherRows(this.weights.embed, ids), adapt)) as tf.Tensor2D;
  }

  private logitsOf(ids: tf.Tensor1D, adapt: Adapt): tf.Tensor2D {
    return this.linear('head', this.statesOf(ids, adapt), adapt);
  }

  lossInputs(batch: TokenBatch): LossInputs {
    const prompt = tf.tensor2d(promptMask(batch), [batch.rows, batch.length]);
    return { ids: tf.tensor1d(batch.inputIds, 'int32'), prompt, targets: batchTargets(batch) };
  }

  lossLanes(batch: TokenBatch): Array<{ inputs: LossInputs; share: number }> {
    return [{ inputs: this.lossInputs(batch), share: 1 }];
  }

  lossOf(inputs: LossInputs, adapt: Adapt): tf.Scalar {
    return lossOfAnswers(this.answersOf(inputs, adapt));
  }

  answersOf({ ids, prompt, targets }: LossInputs, adapt: Adapt): Answers {
    const [rows, length] = prompt.shape;
    const told = onRows(adapt, () => promptRows({ rows, length, prompt }));
    return { ...targets, logits: gatherRows(this.logitsOf(ids, told), targets.at) };
  }

  loss(batch: TokenBatch, _features: tf.Tensor3D | null, adapt: Adapt): tf.Scalar {
    return tf.tidy(() => this.lossOf(this.lossInputs(batch), adapt));
  }

  dispose(): void {
    tf.dispose(Object.values(this.weights));
  }
}

/** Samples of different length with a rule to learn: the next token is the last one plus `shift`. */
export function toySamples(count: number, shift: number): EncodedSample[] {
  const random = new Random(shift);
  return Array.from({ length: count }, (_, i) => {
    const length = 3 + random.below(6);
    const start = random.below(8);
    const inputIds = Int32Array.from({ length }, (_, k) => 2 + ((start + k * shift) % 9));
    const asked = 1 + random.below(2);
    const labels = inputIds.map((token, k) => (k < asked ? -100 : token));
    return { id: `sample-${i}`, inputIds, labels, images: [], references: [] };
  });
}

/** A run in which a method of the registry learns such samples; tests change single entries. */
export function toyRun(model: ToyModel, method: Method, options: Record<string, unknown>): TrainTask {
  return {
    ...{ model, method, options, layers: model.layers },
    ...{ bank: null, task: 'a', samples: toySamples(24, 2), seed: 3, identity: {} },
    features: () => {
      throw new Error('no images here');
    },
    training: {
      ...{ learningRate: 0.03, batchSize: 8, microBatchSize: 8, epochs: 15 },
      ...{ warmupRatio: 0, weightDecay: 0, clipNorm: 1 },
    },
    checkpointSeconds: Number.POSITIVE_INFINITY,
    signal: new AbortController().signal,
    onProgress: () => {},
  };
}

const options = z.strictObject({
  /** Weight of a pull of the shared factor to its start; 0 leaves it out. */
  pull: z.number().default(0),
  sharedLearningRate: z.number().default(1),
});
type Options = z.infer<typeof options>;

/** Low-rank adapters whose A all tasks share and whose B is the task's own. */
export const toyMethod: Method = {
  name: 'toy',
  title: 'Toy',
  paper: null,
  options: options as unknown as z.ZodType<Record<string, unknown>>,
  needsTask: true,
  describe: () => ({
    shared: ['A'],
    perTask: ['B'],
    frozenAfterTask: ['B'],
    parameters: { shared: 0, perTask: 0 },
  }),
  start: (layers, options, random): Bank => ({
    method: 'toy',
    options,
    layers,
    tasks: [],
    tensors: new Map(layers.map((layer) => [`shared/${layer.name}/A`, normal(random, [RANK, layer.in])])),
  }),
  begin: (bank, task, _options, random) => {
    const tensors = bank.layers.flatMap(({ name, out }): [string, TrainableTensor][] => [
      [`${name}/A`, { start: bank.tensors.get(`shared/${name}/A`)!, place: 'shared', trained: true }],
      [`${name}/B`, { start: normal(random, [out, RANK], 0.1), place: 'own', trained: true }],
    ]);
    const constants = new Map(bank.layers.map(({ name }) => [`${name}/A0`, bank.tensors.get(`shared/${name}/A`)!]));
    return { task, tensors: new Map(tensors), constants, earlierTasks: bank.tasks };
  },
  apply: (layer, x, base, active) => {
    const z = tf.matMul(x, active.get(layer.name, 'A'), false, true);
    return tf.add(base, tf.matMul(z, active.get(layer.name, 'B'), false, true)) as tf.Tensor2D;
  },
  penalty: (active: Active, options) => {
    const moved = active.layers.map(({ name }) =>
      tf.sum(tf.square(tf.sub(active.get(name, 'A'), active.constant(name, 'A0')!))),
    );
    return tf.mul(tf.addN(moved), (options as Options).pull) as tf.Scalar;
  },
  finish: (bank, { task }, trained) => {
    const place = ([key, tensor]: [string, HostTensor]): [string, HostTensor] => [
      key.endsWith('/A') ? `shared/${key}` : `tasks/${task}/${key}`,
      tensor,
    ];
    return { ...bank, tasks: [...bank.tasks, task], tensors: new Map([...bank.tensors, ...[...trained].map(place)]) };
  },
  activate: (bank, task) =>
    new Map(
      bank.layers.flatMap(({ name }): [string, HostTensor][] => [
        [`${name}/A`, bank.tensors.get(`shared/${name}/A`)!],
        [`${name}/B`, bank.tensors.get(`tasks/${task}/${name}/B`)!],
      ]),
    ),
};

function normal(random: Random, shape: number[], size = 1): HostTensor {
  const length = shape.reduce((a, b) => a * b, 1);
  return { shape, data: Float32Array.from({ length }, () => size * random.normal()) };
}
