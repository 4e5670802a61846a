import { z } from 'zod';
import { DEFAULTS } from '../../../core/defaults.ts';
import type { HostTensor, TensorMap } from '../../../core/host-tensor.ts';
import { Random } from '../../training/random.ts';
import { modelKey, mustKnow, ownKey, taskKey, tensorOf, withTask } from '../bank.ts';
import { applyPair, foldLayers, PAIR } from '../lora.ts';
import type { Bank, Method, Probe } from '../method.ts';
import { perTaskLora } from '../per-task-lora/index.ts';
import { loraOptions } from '../ranks.ts';
import { decode, type Shape } from './decoder.ts';
import { fitGenerator, type Item } from './vae.ts';
import { flatten, keysOf, project, sizeOfAdapter, statistics, unflatten, worstError } from './weights.ts';

const count = z.number().int().positive();
const option = <Name extends keyof typeof DEFAULTS>(name: Name): (typeof DEFAULTS)[Name]['value'] =>
  DEFAULTS[name].value;

const options = loraOptions.extend({
  /** Fit a generator after every task; false keeps every task's LoRA, and the task vectors for a later generator. */
  generate: z.boolean().default(true),
  /** Adapters of the new task that the generator learns from: taken while training goes on, every so many steps. */
  snapshots: count.default(option('icm-lora.snapshots')),
  snapshotSteps: count.default(option('icm-lora.snapshotSteps')),
  /** Share of the highest learning rate at which it goes on. */
  snapshotRate: z.number().positive().default(option('icm-lora.snapshotRate')),
  /** Samples of which the task vector is the mean, and its length. */
  vectorSamples: count.default(option('icm-lora.vectorSamples')),
  vectorSize: count.default(option('icm-lora.vectorSize')),
  /** Of the strided convolutions of the encoder; the decoder mirrors them. */
  channels: z
    .array(count)
    .min(1)
    .max(16)
    .default([...option('icm-lora.channels')]),
  kernel: count.refine((kernel) => kernel % 2 === 1, 'must be odd').default(option('icm-lora.kernel')),
  latent: count.default(option('icm-lora.latent')),
  steps: count.default(option('icm-lora.steps')),
  batchSize: count.default(option('icm-lora.batchSize')),
  learningRate: z.number().positive().default(option('icm-lora.learningRate')),
  /** Weight of the Kullback-Leibler term. */
  divergence: z.number().min(0).default(option('icm-lora.divergence')),
  /** z of a generated adapter: the mean, or one draw of N(0, 1) per task. */
  draw: z.enum(['mean', 'sample']).default('mean'),
  /** Largest relative error of ΔW in any layer, and largest relative rise of a loss, at which stored LoRAs are dropped. */
  maxError: z.number().min(0).default(option('icm-lora.maxError')),
  maxLossRise: z.number().min(0).default(option('icm-lora.maxLossRise')),
  /** Samples that a loss is measured on, of the new task and of every earlier one; 0 keeps no data of earlier tasks. */
  lossSamples: count.default(option('icm-lora.lossSamples')),
  earlierSamples: z.number().int().min(0).default(option('icm-lora.earlierSamples')),
});

type Options = z.output<typeof options>;

const VECTOR = 'vector';
const DECODER = modelKey('');
const statisticsOf = (tensor: string) => `${tensor}_statistics`;

/** ICM-LoRA (arXiv 2501.17635): one generator makes the LoRA of a task from the task's vector. */
export const icmLora: Method<Options> = {
  name: 'icm-lora',
  title: 'ICM-LoRA: a generator that makes the LoRA of each task',
  paper: 'arXiv:2501.17635',
  options,
  needsTask: true,

  describe(layers, given) {
    const described = perTaskLora.describe(layers, given);
    const training = { shared: 0, perTask: 4 * layers.length + given.vectorSize };
    return { ...described, parameters: { ...described.parameters, training } };
  },

  start: (layers, given) => ({ method: 'icm-lora', options: given, layers, tasks: [], tensors: new Map() }),

  begin: perTaskLora.begin,
  apply: applyPair,
  finish: withTask,

  rehearsal: ({ earlierSamples: perTask }) => (perTask > 0 ? { perTask, place: 'aside' } : null),

  /** Fits the generator to all tasks, and drops their LoRAs if what it makes is as good. */
  async after(bank, task, given, probe, { further }) {
    const vector = project(await probe.hidden(null, given.vectorSamples), given.vectorSize);
    const kept = stored(bank, task, vector);
    if (!given.generate) return kept;
    const { snapshots: wanted, snapshotSteps: every, snapshotRate: rate } = given;
    const snapshots = await further({ snapshots: wanted, every, rate });
    const shape = shapeOf(kept, given);
    const items = kept.tasks.flatMap((name): Item[] => {
      const condition = tensorOf(kept, taskKey(name, VECTOR)).data;
      const stats = statisticsOfTask(kept, name);
      const own = icmLora.activate(kept, name);
      const all = name === task ? [...snapshots, own] : Array<TensorMap>(snapshots.length + 1).fill(own);
      return all.map((adapter) => ({ weights: flatten(bank.layers, adapter, stats), condition }));
    });
    const decoder = await fitGenerator(items, shape, given, probe.random.split('generator'), () => probe.alive());
    const made = generated(kept, decoder);
    return (await asGood(made, kept, task, given, probe)) ? made : kept;
  },

  activate(bank, task) {
    mustKnow(bank, task);
    const keys = keysOf(bank.layers);
    if (bank.tensors.has(`tasks/${task}/${keys[0]}`))
      return new Map(keys.map((key) => [key, tensorOf(bank, `tasks/${task}/${key}`)]));
    const given = bank.options as Options;
    const z = new Float32Array(given.latent);
    if (given.draw === 'sample') z.set(drawOf(task, given.latent));
    const condition = tensorOf(bank, taskKey(task, VECTOR)).data;
    const weights: TensorMap = new Map();
    for (const [key, tensor] of bank.tensors)
      if (key.startsWith(DECODER)) weights.set(key.slice(DECODER.length), tensor);
    const vector = decode(weights, shapeOf(bank, given), z, condition);
    return unflatten(bank.layers, given.rank, vector, statisticsOfTask(bank, task));
  },

  fold(bank, task) {
    const adapter = icmLora.activate(bank, task);
    return foldLayers(bank, task, (layer) => ({
      A: adapter.get(`${layer}/lora_A`)!,
      B: adapter.get(`${layer}/lora_B`)!,
    }));
  },
};

const shapeOf = (bank: Bank, { channels, kernel, latent, vectorSize, rank }: Options): Shape => ({
  ...{ channels, kernel, latent, condition: vectorSize },
  size: sizeOfAdapter(bank.layers, rank),
});

/** z of a task's adapter, the same whenever it is made. */
function drawOf(task: string, size: number): Float32Array {
  const random = new Random(0).split(`z ${task}`);
  return Float32Array.from({ length: size }, () => random.normal());
}

/** By `<module path>/<tensor>`. */
function statisticsOfTask(bank: Bank, task: string): TensorMap {
  const keys = bank.layers.flatMap(({ name }) => PAIR.map((tensor) => [name, tensor] as const));
  return new Map(
    keys.map(([name, tensor]) => [`${name}/${tensor}`, tensorOf(bank, ownKey(task, name, statisticsOf(tensor)))]),
  );
}

/** The bank with a LoRA for every task, those of earlier ones made by the generator that it drops, and its newest task's vector. */
function stored(bank: Bank, task: string, vector: HostTensor): Bank {
  const tensors: TensorMap = new Map([...bank.tensors].filter(([key]) => !key.startsWith(DECODER)));
  for (const earlier of bank.tasks)
    for (const [key, tensor] of icmLora.activate(bank, earlier)) tensors.set(`tasks/${earlier}/${key}`, tensor);
  for (const { name } of bank.layers)
    for (const tensor of PAIR) {
      const own = tensorOf(bank, ownKey(task, name, tensor));
      tensors.set(ownKey(task, name, statisticsOf(tensor)), statistics(own));
    }
  tensors.set(taskKey(task, VECTOR), vector);
  return { ...bank, tensors };
}

/** The bank with a generator in place of every task's LoRA. */
function generated(bank: Bank, decoder: TensorMap): Bank {
  const tensors: TensorMap = new Map(bank.tensors);
  for (const { name } of bank.layers)
    for (const tensor of PAIR) for (const task of bank.tasks) tensors.delete(ownKey(task, name, tensor));
  for (const [name, tensor] of decoder) tensors.set(modelKey(name), tensor);
  return { ...bank, tensors };
}

/** Whether every generated LoRA is near the stored one, and where samples are at hand its loss is. */
async function asGood(made: Bank, kept: Bank, task: string, given: Options, probe: Probe): Promise<boolean> {
  for (const name of kept.tasks) {
    const [now, before] = [icmLora.activate(made, name), icmLora.activate(kept, name)];
    if (!(worstError(kept.layers, now, before) <= given.maxError)) return false;
    const on = name === task ? 'training' : { task: name };
    if (name !== task && !probe.earlier.includes(name)) continue;
    const samples = name === task ? given.lossSamples : given.earlierSamples;
    const [loss, wanted] = [await probe.loss(now, on, samples), await probe.loss(before, on, samples)];
    if (!(loss <= wanted * (1 + given.maxLossRise))) return false;
  }
  return true;
}
