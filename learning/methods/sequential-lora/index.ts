import type { TensorMap } from '../../../core/host-tensor.ts';
import { mustKnow, mustMatch, sharedKey, tensorOf } from '../bank.ts';
import { applyPair, freshPair, type LoraOptions, loraOptions, PAIR, pairParameters } from '../lora.ts';
import type { LoraPair, Method, TrainableTensor } from '../method.ts';

/** One LoRA that trains on through all tasks, unprotected ("SeqLoRA"): shows how much there is to forget. */
export const sequentialLora: Method<LoraOptions> = {
  name: 'sequential-lora',
  title: 'Sequential LoRA: one adapter, trained on and on',
  paper: 'arXiv:2106.09685',
  options: loraOptions,
  needsTask: false,

  describe: (layers, { rank }) => ({
    shared: PAIR,
    perTask: [],
    frozenAfterTask: [],
    parameters: { shared: pairParameters(layers, rank), perTask: 0 },
  }),

  start(layers, options, random) {
    const tensors: TensorMap = new Map();
    for (const layer of layers)
      for (const [name, tensor] of Object.entries(freshPair(layer, options.rank, random)))
        tensors.set(sharedKey(layer.name, name), tensor);
    return { method: 'sequential-lora', options, layers, tasks: [], tensors };
  },

  begin(bank, task, options) {
    mustMatch(bank, options, ['rank', 'alpha']);
    const tensors = new Map<string, TrainableTensor>();
    for (const { name } of bank.layers)
      for (const tensor of PAIR)
        tensors.set(`${name}/${tensor}`, {
          start: tensorOf(bank, sharedKey(name, tensor)),
          place: 'shared',
          trained: true,
        });
    return { task, tensors, constants: new Map(), earlierTasks: bank.tasks };
  },

  apply: applyPair,

  finish(bank, { task }, trained) {
    const tensors: TensorMap = new Map(bank.tensors);
    for (const { name } of bank.layers)
      for (const tensor of PAIR) tensors.set(sharedKey(name, tensor), trained.get(`${name}/${tensor}`)!);
    return { ...bank, tasks: [...bank.tasks, task], tensors };
  },

  activate(bank, task) {
    mustKnow(bank, task);
    const keys = bank.layers.flatMap(({ name }) => PAIR.map((tensor) => [name, tensor] as const));
    return new Map(keys.map(([name, tensor]) => [`${name}/${tensor}`, tensorOf(bank, sharedKey(name, tensor))]));
  },

  fold(bank, task) {
    mustKnow(bank, task);
    const { rank, alpha } = bank.options as LoraOptions;
    const pair = (name: string): LoraPair => ({
      A: tensorOf(bank, sharedKey(name, 'lora_A')),
      B: tensorOf(bank, sharedKey(name, 'lora_B')),
    });
    return { rank, alpha, layers: new Map(bank.layers.map(({ name }) => [name, pair(name)])) };
  },
};
