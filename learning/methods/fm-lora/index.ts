import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import { DEFAULTS } from '../../../core/defaults.ts';
import type { HostTensor, TensorMap } from '../../../core/host-tensor.ts';
import { fromHost, identity, multiply, toHost } from '../../tensors/linalg.ts';
import { MODEL, modelKey, mustMatch, ownKey, sharedKey, tensorOf, tensorsOfTask, withTask } from '../bank.ts';
import { normal, zeros } from '../initial.ts';
import { foldLayers, freshPair, PAIR, pairParameters } from '../lora.ts';
import type { Active, Bank, Method, TrainableTensor } from '../method.ts';
import { meanPenalty, moved, startsOf } from '../penalties.ts';
import { loraOptions } from '../ranks.ts';
import { widthOf } from './width.ts';

const options = loraOptions
  .extend({
    /** What becomes of A and B after the first task. */
    sharedFactors: z.enum(['frozen-after-first', 'regularized']).default('frozen-after-first'),
    /** Weight of ‖A − A_start‖² + ‖B − B_start‖² where they are regularized. */
    stabilityWeight: z.number().min(0).default(DEFAULTS['fm-lora.stabilityWeight'].value),
    /** Ranks among which every layer of a task chooses its own while it trains; none: the whole rank. */
    rankCandidates: z.array(z.number().int().positive()).default([]),
    /** n, states of the shared prompt. Absent, there is none, and no trace of it. */
    promptTokens: z.number().int().positive().optional(),
    /** Weight of the expected share of the rank that is used: what makes a task choose a small one. */
    rankWeight: z.number().min(0).default(DEFAULTS['fm-lora.rankWeight'].value),
  })
  .refine(({ rank, rankCandidates }) => rankCandidates.every((candidate) => candidate <= rank), {
    path: ['rankCandidates'],
    error: 'names a rank above the rank. Lower it.',
  });
type Options = z.output<typeof options>;

const OWN = ['M', 'N'] as const;
const PROMPT = 'prompt';
/** Of its numbers at the start, as models of this kind start their embeddings. */
const PROMPT_DEVIATION = 0.02;

/**
 * FM-LoRA (arXiv 2504.08823): ΔW_t = s · B M_t N_t A with A and B shared; a task adds two r × r matrices. With a prompt, n
 * states before every input, that all tasks share as they share A and B.
 */
export const fmLora: Method<Options> = {
  name: 'fm-lora',
  title: 'FM-LoRA: one shared subspace, two small matrices for each task',
  paper: 'arXiv:2504.08823',
  options,
  needsTask: true,

  describe(layers, { rank, sharedFactors, promptTokens }) {
    const shared = [...PAIR, ...(promptTokens ? [PROMPT] : [])];
    const prompt = promptTokens ? promptTokens * widthOf(layers) : 0;
    return {
      shared,
      perTask: OWN,
      frozenAfterTask: [...OWN, ...(sharedFactors === 'frozen-after-first' ? shared : [])],
      parameters: { shared: pairParameters(layers, { rank }) + prompt, perTask: layers.length * 2 * rank ** 2 },
    };
  },

  start(layers, given, random) {
    const tensors: TensorMap = new Map();
    for (const layer of layers)
      for (const [name, tensor] of Object.entries(freshPair(layer, given.rank, random)))
        tensors.set(sharedKey(layer.name, name), tensor);
    if (given.promptTokens) {
      const shape = [given.promptTokens, widthOf(layers)];
      tensors.set(modelKey(PROMPT), normal(shape, PROMPT_DEVIATION, random.split(PROMPT)));
    }
    return { method: 'fm-lora', options: given, layers, tasks: [], tensors };
  },

  /** ΔW starts at 0: in the first task because B is 0, later because N is. */
  begin(bank, task, given) {
    mustMatch(bank, given, ['rank', 'alpha', 'rankCandidates', 'promptTokens']);
    const first = bank.tasks.length === 0;
    const trained = first || given.sharedFactors === 'regularized';
    const tensors = new Map<string, TrainableTensor>();
    const unit = toHost(identity(given.rank));
    for (const { name } of bank.layers) {
      const own = (tensor: string, start: HostTensor) =>
        void tensors.set(`${name}/${tensor}`, { start, place: 'own', trained: true });
      for (const tensor of PAIR)
        tensors.set(`${name}/${tensor}`, { start: tensorOf(bank, sharedKey(name, tensor)), place: 'shared', trained });
      own('M', unit);
      own('N', first ? unit : zeros([given.rank, given.rank]));
      if (given.rankCandidates.length > 0) own('rank_logits', zeros([given.rankCandidates.length]));
    }
    for (const [key, start] of promptOf(bank)) tensors.set(key, { start, place: 'shared', trained });
    return { task, tensors, constants: first ? new Map() : startsOf(tensors), earlierTasks: bank.tasks };
  },

  apply(layer, x, base, active, given) {
    const get = (name: string) => active.get(layer.name, name) as tf.Tensor2D;
    const z = tf.mul(tf.matMul(x, get('lora_A'), false, true), given.alpha / given.rank);
    const inner = tf.matMul(z, get('N'), false, true);
    const used = active.has(layer.name, 'rank_logits') ? tf.mul(inner, openRanks(active, layer.name, given)) : inner;
    return tf.add(base, tf.matMul(tf.matMul(used, get('M'), false, true), get('lora_B'), false, true)) as tf.Tensor2D;
  },

  prefix: (active) => (active.has(MODEL, PROMPT) ? (active.get(MODEL, PROMPT) as tf.Tensor2D) : null),

  penalty(active, given) {
    const factors = meanPenalty(active, given.stabilityWeight, (layer) => moved(active, layer, PAIR));
    const prompt = moved(active, MODEL, [PROMPT]);
    const drift = prompt ? tf.add(factors, tf.mul(prompt, given.stabilityWeight)) : factors;
    const ranks = meanPenalty(active, given.rankWeight, (layer) =>
      active.has(layer, 'rank_logits') ? tf.mean(openRanks(active, layer, given)) : null,
    );
    return tf.add(drift, ranks);
  },

  /** Where ranks were chosen, the most probable one stays: the columns of M beyond it become 0. */
  finish(bank, trainable, trained) {
    const tensors: TensorMap = new Map(trained);
    const kept = new Map(trainable.tensors);
    for (const { name } of bank.layers) {
      const logits = trained.get(`${name}/rank_logits`);
      if (!kept.delete(`${name}/rank_logits`) || !logits) continue;
      const { rank, rankCandidates } = bank.options as Options;
      const chosen = rankCandidates[logits.data.indexOf(Math.max(...logits.data))]!;
      const { shape, data } = trained.get(`${name}/M`)!;
      tensors.set(`${name}/M`, { shape, data: data.map((x, at) => (at % rank < chosen ? x : 0)) });
    }
    return withTask(bank, { ...trainable, tensors: kept }, tensors);
  },

  safe: (given) => ({ ...given, sharedFactors: 'frozen-after-first' }),
  activate: (bank, task) => new Map([...tensorsOfTask(bank, task), ...promptOf(bank)]),

  folds: ({ promptTokens }) => promptTokens === undefined,
  fold: (bank, task) =>
    foldLayers(bank, task, (layer) => {
      const [A, B] = PAIR.map((tensor) => fromHost(tensorOf(bank, sharedKey(layer, tensor))));
      const [M, N] = OWN.map((tensor) => fromHost(tensorOf(bank, ownKey(task, layer, tensor))));
      return { A: toHost(multiply(N!, A!)), B: toHost(multiply(B!, M!)) };
    }),
};

/** The prompt by its key, where there is one. */
function promptOf(bank: Bank): TensorMap {
  const prompt = bank.tensors.get(modelKey(PROMPT));
  return new Map(prompt ? [[modelKey(PROMPT), prompt]] : []);
}

/** How far each of the r inner directions is open, [r]: the probability that the chosen rank reaches it. */
function openRanks(active: Active, layer: string, { rank, rankCandidates }: Options): tf.Tensor {
  const reaches = rankCandidates.map((candidate) => Array.from({ length: rank }, (_, i) => Number(i < candidate)));
  const chance = tf.reshape(tf.softmax(active.get(layer, 'rank_logits')), [1, rankCandidates.length]);
  return tf.reshape(tf.matMul(chance, tf.tensor2d(reaches)), [rank]);
}
