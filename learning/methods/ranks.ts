import { z } from 'zod';
import { DEFAULTS } from '../../core/defaults.ts';
import { LiloraError } from '../../core/errors.ts';
import { patternMatcher } from '../../core/module-patterns.ts';
import type { AdaptedLayer } from '../model/model.ts';
import type { LoraPair } from './method.ts';

/** Above the width of any layer that is adapted today; a bank of such a rank would be larger than the model. */
export const rank = z.number().int().positive().max(16_384);
const alpha = z.number().positive().max(1e9);

/** Options of single layers, that a method with one rank for all of them refuses by name. */
const OF_LAYERS = ['rankPattern', 'alphaPattern', 'useRslora'];

/** What every method made of ordinary LoRA pairs needs (LoRA, arXiv 2106.09685): ΔW = alpha/rank · B A. */
export const loraOptions = z.strictObject(
  { rank: rank.default(DEFAULTS['adapter.rank'].value), alpha: alpha.default(DEFAULTS['adapter.alpha'].value) },
  {
    error: (issue) => {
      const keys = issue.code === 'unrecognized_keys' ? (issue.keys as readonly string[]) : [];
      const named = keys.filter((key) => OF_LAYERS.includes(key));
      if (named.length === 0) return undefined;
      return `${named.join(', ')}: this method has one rank and one scale alpha / rank for all layers. Leave it out, or use a method of plain pairs (sequential-lora, per-task-lora, …)`;
    },
  },
);

/**
 * The same for methods that train plain pairs: ranks and alphas of single layers by pattern, as PEFT's `rank_pattern` and
 * `alpha_pattern`, and rsLoRA's scale alpha / √rank (arXiv 2312.03732). Absent, they leave no trace.
 */
export const pairOptions = loraOptions.extend({
  /** By names or regular expressions of module paths; other layers have `rank`. */
  rankPattern: z.record(z.string(), rank).optional(),
  alphaPattern: z.record(z.string(), alpha).optional(),
  useRslora: z.boolean().optional(),
});

export type LoraOptions = z.output<typeof pairOptions>;

/** What all tasks of a stream of plain pairs have in common. */
export const SHAPING = ['rank', 'alpha', ...OF_LAYERS] as const;

type Patterns = Readonly<Record<string, number>>;

/** By pattern and layer: layers ask in every step. */
const known = new WeakMap<Patterns, (path: string) => number | undefined>();

/** The value of a layer; two patterns that say different things of it are `BadConfig`, so that no order counts. */
function lookUp(patterns: Patterns | undefined, path: string, option: string): number | undefined {
  if (!patterns) return undefined;
  let find = known.get(patterns);
  if (!find) {
    const matching = patternMatcher(Object.keys(patterns), option);
    const found = new Map<string, number | undefined>();
    find = (layer) => {
      if (found.has(layer)) return found.get(layer);
      const keys = matching(layer);
      if (new Set(keys.map((key) => patterns[key])).size > 1)
        throw new LiloraError('BadConfig', `${option}: ${keys.join(' and ')} both match ${layer}. Make one narrower.`);
      found.set(layer, keys[0] === undefined ? undefined : patterns[keys[0]]);
      return found.get(layer);
    };
    known.set(patterns, find);
  }
  return find(path);
}

/** r of a layer. */
export const rankOf = (options: Pick<LoraOptions, 'rank' | 'rankPattern'>, layer: string): number =>
  lookUp(options.rankPattern, layer, 'rankPattern') ?? options.rank;

/** alpha of a layer. */
export const alphaOf = (options: Pick<LoraOptions, 'alpha' | 'alphaPattern'>, layer: string): number =>
  lookUp(options.alphaPattern, layer, 'alphaPattern') ?? options.alpha;

/** alpha / r, or alpha / √r. */
const scale = (alpha: number, rank: number, useRslora = false) => alpha / (useRslora ? Math.sqrt(rank) : rank);

/** What B A of a layer is multiplied by. */
export const scaleOf = (options: LoraOptions, layer: string): number =>
  scale(alphaOf(options, layer), rankOf(options, layer), options.useRslora);

/** An ordinary LoRA: ΔW of a layer = alpha / r · B A, or alpha / √r · B A. */
export interface PlainLora {
  readonly rank: number;
  readonly alpha: number;
  readonly useRslora?: boolean;
  /** r of a layer is that of its pair, and so is its alpha where the pair names one. */
  readonly layers: ReadonlyMap<string, LoraPair>;
}

/** What B A of a pair is multiplied by. */
export const pairScale = (lora: Pick<PlainLora, 'alpha' | 'useRslora'>, { A, alpha }: LoraPair): number =>
  scale(alpha ?? lora.alpha, A.shape[0]!, lora.useRslora);

/** Refuses patterns that match no layer: they are misspelt, or meant for layers that are not adapted. */
export function mustMatchLayers(layers: readonly AdaptedLayer[], options: LoraOptions): void {
  for (const option of ['rankPattern', 'alphaPattern'] as const) {
    const keys = Object.keys(options[option] ?? {});
    const matching = patternMatcher(keys, option);
    const used = new Set(layers.flatMap(({ name }) => matching(name)));
    const lost = keys.filter((key) => !used.has(key));
    if (lost.length > 0)
      throw new LiloraError(
        'BadConfig',
        `${option}: ${lost.join(', ')} matches no adapted layer. Mend it, or leave it out.`,
      );
  }
}
