import { z } from 'zod';
import { DEFAULTS } from '../../../core/defaults.ts';
import type { AdaptedLayer } from '../../model/model.ts';
import { rank } from '../ranks.ts';
import { startOptions } from '../similar.ts';

/** What each variant sets; any of it may be overridden by name. */
const VARIANTS = {
  /** The paper: A and B0 train in every task, the stability loss holds B0. */
  paper: { sharedBasis: 'regularized', sharedA: 'trainable', anchorWeight: 0, reanchor: false },
  /** The authors' released code: B0 frozen after the first task, A trains on. */
  released: { sharedBasis: 'frozen-after-first', sharedA: 'trainable', anchorWeight: 0, reanchor: false },
  /** Nothing shared moves after the first task: earlier tasks compute exactly what they computed. */
  safe: { sharedBasis: 'frozen-after-first', sharedA: 'frozen-after-first', anchorWeight: 0, reanchor: false },
  /** Ours: the paper, and every earlier task's product held where it was. */
  anchored: {
    sharedBasis: 'regularized',
    sharedA: 'trainable',
    anchorWeight: DEFAULTS['lilora.anchorWeight'].value,
    reanchor: true,
  },
} as const;

const positive = z.number().positive();

/** Options of LiLoRA; what the variant decides is filled in, so that the result says everything. */
export const liloraOptions = z
  .strictObject({
    variant: z.enum(['paper', 'released', 'safe', 'anchored']).default('anchored'),
    rank: rank.default(DEFAULTS['adapter.rank'].value),
    alpha: positive.default(DEFAULTS['adapter.alpha'].value),
    /** q, the rank of a task's own part; half the rank when absent. */
    innerRank: positive.int().optional(),
    /**
     * Instead of q: the share of an ordinary LoRA's numbers that a task's own part may have, in every layer. A rank costs
     * less where a layer has few outputs, so such layers get a higher one.
     */
    innerShare: positive.max(1).optional(),
    /** λ, weight of the stability loss. */
    stabilityWeight: z.number().min(0).default(DEFAULTS['lilora.stabilityWeight'].value),
    sharedBasis: z.enum(['regularized', 'frozen-after-first']).optional(),
    sharedA: z.enum(['trainable', 'frozen-after-first']).optional(),
    /** μ, weight of the anchor penalty. */
    anchorWeight: z.number().min(0).optional(),
    /** Re-express earlier tasks in the shared factors after each task. */
    reanchor: z.boolean().optional(),
    /** Re-anchoring chooses a task's α anew; otherwise it is kept. */
    reanchorBlend: z.boolean().default(false),
    /**
     * What anchoring measures errors in: ΔW; what ΔW makes of the inputs that earlier tasks had; or that as the losses of
     * these tasks feel it.
     */
    anchorMetric: z.enum(['weights', 'inputs', 'fisher']).default('weights'),
    /** Samples of a task whose inputs are looked at, where they count. */
    momentSamples: positive.int().default(DEFAULTS['lilora.momentSamples'].value),
    /** Samples of a task whose gradients are looked at, where losses count. */
    fisherSamples: positive.int().default(DEFAULTS['lilora.fisherSamples'].value),
    ...startOptions,
    /** How the penalties of the layers add up. */
    layerReduction: z.enum(['mean', 'sum']).default('mean'),
    /** Let gradients flow through the similarity of the stability loss. */
    similarityGradient: z.boolean().default(false),
    /** Keep the similarity within [0, 1]. */
    clampSimilarity: z.boolean().default(false),
    /** Factor on the learning rate of the shared tensors. */
    sharedLearningRate: positive.default(1),
  })
  .refine(({ innerRank = 1, rank }) => innerRank <= rank, {
    path: ['innerRank'],
    error: "is above the rank; a task's own part must be smaller than a LoRA. Lower it.",
  })
  .refine(({ innerRank, innerShare }) => innerRank === undefined || innerShare === undefined, {
    path: ['innerShare'],
    error: 'and innerRank both say how large own parts are. Give one of them.',
  })
  .transform((given) => ({
    ...given,
    ...(given.innerShare === undefined && {
      innerRank: given.innerRank ?? Math.max(1, Math.floor(given.rank / 2)),
    }),
    sharedBasis: given.sharedBasis ?? VARIANTS[given.variant].sharedBasis,
    sharedA: given.sharedA ?? VARIANTS[given.variant].sharedA,
    anchorWeight: given.anchorWeight ?? VARIANTS[given.variant].anchorWeight,
    reanchor: given.reanchor ?? VARIANTS[given.variant].reanchor,
  }));

export type LiloraOptions = z.output<typeof liloraOptions>;

/** q of one layer: as large as its share allows, at least 1. A rank more of B̃ [out, q] and Ã [q, r] is r + out numbers. */
export function innerRankOf(layer: AdaptedLayer, { rank, innerRank, innerShare }: LiloraOptions): number {
  if (innerShare === undefined) return innerRank!;
  const most = Math.floor((innerShare * rank * (layer.in + layer.out)) / (rank + layer.out));
  return Math.min(Math.max(most, 1), rank);
}

/** The same stream with everything shared frozen. */
export function safeOptions(options: LiloraOptions): LiloraOptions {
  return { ...options, variant: 'safe', ...VARIANTS.safe };
}
