import { methodNames } from '../../learning/methods/registry.ts';
import type { TrainingSettings } from '../../workflows/definition-contract.ts';

/** One line of the comparison: a method with its options, where they matter with settings of training. */
export interface Compared {
  readonly method: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly training?: Partial<TrainingSettings>;
  /** What a method loses is measured, not prevented; here the gate prevents it, as it does by default. */
  readonly gated?: boolean;
}

/** LiLoRA is compared in all its variants; `anchored` also with smaller factors of its own, some also behind the gate, and with larger shared ones beside them, where errors count by inputs. */
const LILORA: Readonly<Record<string, Compared>> = {
  anchored: { method: 'lilora', options: { variant: 'anchored' } },
  'anchored-q4': { method: 'lilora', options: { variant: 'anchored', innerRank: 4 } },
  'anchored-q2': { method: 'lilora', options: { variant: 'anchored', innerRank: 2 } },
  'anchored-q2-gated': { method: 'lilora', options: { variant: 'anchored', innerRank: 2 }, gated: true },
  'anchored-tenth': { method: 'lilora', options: { variant: 'anchored', innerShare: 0.1 } },
  'anchored-tenth-gated': { method: 'lilora', options: { variant: 'anchored', innerShare: 0.1 }, gated: true },
  'anchored-r32-q2-inputs': {
    method: 'lilora',
    options: { variant: 'anchored', rank: 32, alpha: 64, innerRank: 2, anchorMetric: 'inputs', reanchorBlend: true },
  },
  safe: { method: 'lilora', options: { variant: 'safe' } },
  released: { method: 'lilora', options: { variant: 'released' } },
  paper: { method: 'lilora', options: { variant: 'paper' } },
};

/** Ortho-LoRA by default learns all data anew, as its paper does; this is its form for streams. */
const ORTHO: Readonly<Record<string, Compared>> = {
  'ortho-replay': { method: 'ortho-lora', options: { mode: 'replay' } },
};

/** With the prompt that its paper has; without it is the default, since PEFT adapters cannot hold one. */
const FM_LORA: Readonly<Record<string, Compared>> = {
  'fm-lora-prompt': { method: 'fm-lora', options: { promptTokens: 8 } },
};

/** Everything that is compared, by the name in the table; every other method with its own defaults. */
export const RUNS: Readonly<Record<string, Compared>> = {
  ...LILORA,
  ...ORTHO,
  ...FM_LORA,
  ...Object.fromEntries(
    methodNames()
      .filter((name) => name !== 'lilora')
      .map((method) => [method, { method, options: {} }]),
  ),
};

/** Orders of learning, by name. */
export const ORDERS: Readonly<Record<string, (tasks: readonly string[]) => string[]>> = {
  given: (tasks) => [...tasks],
  reversed: (tasks) => [...tasks].reverse(),
};
