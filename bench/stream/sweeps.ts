import type { Compared } from './runs.ts';

const of = (method: string, options: Compared['options'], training: Compared['training'] = {}): Compared => ({
  method,
  options,
  training,
});
/** At λ = 0.1, the default before these runs; those at λ = 1 made the new one. */
const lilora = (options: Compared['options'], training?: Compared['training']) =>
  of('lilora', { stabilityWeight: 0.1, ...options }, training);

/** What was tried for the defaults of LiLoRA, each a change of one thing. */
const LILORA: Readonly<Record<string, Compared>> = {
  anchored: lilora({}),
  'anchored-mu-0.3': lilora({ anchorWeight: 0.3 }),
  'anchored-mu-3': lilora({ anchorWeight: 3 }),
  'anchored-mu-10': lilora({ anchorWeight: 10 }),
  'anchored-lambda-0': lilora({ stabilityWeight: 0 }),
  'anchored-lambda-1': lilora({ stabilityWeight: 1 }),
  'anchored-q-4-lambda-1': lilora({ innerRank: 4, stabilityWeight: 1 }),
  'anchored-r-32-q-2-lambda-1': lilora({ rank: 32, alpha: 64, innerRank: 2, stabilityWeight: 1 }),
  'anchored-inputs-blend-lambda-1': lilora({ anchorMetric: 'inputs', reanchorBlend: true, stabilityWeight: 1 }),
  'anchored-r-32-q-2-inputs-blend-lambda-1': lilora({
    ...{ rank: 32, alpha: 64, innerRank: 2, stabilityWeight: 1 },
    ...{ anchorMetric: 'inputs', reanchorBlend: true },
  }),
  'anchored-q-4': lilora({ innerRank: 4 }),
  'anchored-q-2': lilora({ innerRank: 2 }),
  'anchored-q-2-mu-3': lilora({ innerRank: 2, anchorWeight: 3 }),
  'anchored-r-32-q-2': lilora({ rank: 32, alpha: 64, innerRank: 2 }),
  'anchored-blend': lilora({ reanchorBlend: true }),
  'anchored-inputs': lilora({ anchorMetric: 'inputs' }),
  'anchored-inputs-blend': lilora({ anchorMetric: 'inputs', reanchorBlend: true }),
  'anchored-q-2-blend': lilora({ innerRank: 2, reanchorBlend: true }),
  'anchored-q-2-inputs-blend': lilora({ innerRank: 2, anchorMetric: 'inputs', reanchorBlend: true }),
  'anchored-q-4-inputs-blend': lilora({ innerRank: 4, anchorMetric: 'inputs', reanchorBlend: true }),
  'anchored-rate-0.002': lilora({}, { learningRate: 2e-3 }),
  'anchored-rate-0.008': lilora({}, { learningRate: 8e-3 }),
  'anchored-shared-rate-0.3': lilora({ sharedLearningRate: 0.3 }),
  'anchored-start-similar': lilora({ startFrom: 'similar' }),
  'anchored-without-reanchoring': lilora({ reanchor: false }),
  'paper-lambda-0.1': lilora({ variant: 'paper' }),
  'paper-lambda-1': lilora({ variant: 'paper', stabilityWeight: 1 }),
  'paper-lambda-10': lilora({ variant: 'paper', stabilityWeight: 10 }),
  released: lilora({ variant: 'released' }),
  safe: lilora({ variant: 'safe' }),
};

const tenth = { innerShare: 0.1 };
/** At the defaults as they are: in what anchoring counts errors, with own parts of half the rank and of a tenth of a LoRA. */
const METRICS: Readonly<Record<string, Compared>> = {
  anchored: of('lilora', {}),
  'anchored-inputs': of('lilora', { anchorMetric: 'inputs' }),
  'anchored-fisher': of('lilora', { anchorMetric: 'fisher' }),
  'anchored-fisher-mu-3': of('lilora', { anchorMetric: 'fisher', anchorWeight: 3 }),
  'anchored-tenth': of('lilora', tenth),
  'anchored-tenth-inputs': of('lilora', { ...tenth, anchorMetric: 'inputs' }),
  'anchored-tenth-fisher': of('lilora', { ...tenth, anchorMetric: 'fisher' }),
  'anchored-tenth-fisher-mu-3': of('lilora', { ...tenth, anchorMetric: 'fisher', anchorWeight: 3 }),
};

/** What was tried for other methods: the strength with which each of them keeps what it knows. */
const OTHERS: Readonly<Record<string, Compared>> = {
  'per-task-lora': of('per-task-lora', {}),
  'per-task-lora-rate-0.002': of('per-task-lora', {}, { learningRate: 2e-3 }),
  'per-task-lora-start-similar': of('per-task-lora', { startFrom: 'similar' }),
  'ewc-400': of('ewc', {}),
  'ewc-10000': of('ewc', { weight: 1e4 }),
  'ewc-300000': of('ewc', { weight: 3e5 }),
  'ewc-1e7': of('ewc', { weight: 1e7 }),
  'lwf-1': of('lwf', {}),
  'lwf-10': of('lwf', { weight: 10 }),
  'o-lora-0.5': of('o-lora', {}),
  'o-lora-50': of('o-lora', { orthogonalityWeight: 50 }),
  'c-lora-0.1': of('c-lora', {}),
  'c-lora-10': of('c-lora', { orthogonalityWeight: 10 }),
  'dac-0.1': of('dac', {}),
  'dac-10': of('dac', { orthogonalityWeight: 10 }),
  'treelora-0.5': of('treelora', {}),
  'treelora-50': of('treelora', { weight: 50 }),
  loda: of('loda', {}),
  'loda-look-ahead-0': of('loda', { lookAhead: 0 }),
  'loda-general-0.1': of('loda', { generalWeight: 0.1 }),
  'lines-new-weight-1': of('lines', { newWeight: 1 }),
  'lines-new-weight-0.3': of('lines', { newWeight: 0.3 }),
};

/** Sets of runs by name, for the validation stream: defaults are chosen there, not on the tasks that rank the methods. */
export const SWEEPS: Readonly<Record<string, Readonly<Record<string, Compared>>>> = {
  lilora: LILORA,
  metrics: METRICS,
  others: OTHERS,
};
