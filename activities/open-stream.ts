import { z } from 'zod';
import { DEFAULTS } from '../core/defaults.ts';
import { LiloraError } from '../core/errors.ts';
import { canonicalJson, parseJson } from '../core/json.ts';
import { priceTable } from '../core/prices.ts';
import { looksAtData } from '../learning/methods/method.ts';
import { methodNamed } from '../learning/methods/registry.ts';
import { headGeneration, nextGeneration, readHead, streamKeys } from '../store/generations.ts';
import { probe } from '../store/object-store.ts';
import {
  type Head,
  type MethodAbilities,
  NAME_PATTERN,
  QUEUES,
  type ResolvedStream,
  SCHEMA,
  type StreamDefinition,
  type StreamState,
} from '../workflows/contract.ts';
import type { DataContext } from './context.ts';
import { readEvaluation, withoutChoices } from './evaluation-file.ts';
import { modelFolder } from './model-folder.ts';
import { checkStart, startSchema } from './start-bank.ts';

type Defaults = typeof DEFAULTS;
const value = <K extends keyof Defaults>(name: K): Defaults[K]['value'] => DEFAULTS[name].value;
const positive = z.number().positive();
/** A count that a mistaken or hostile definition cannot make absurd: each attempt would cost an engine. */
const count = (most: number) => z.number().int().positive().max(most);
const queue = z.string().regex(/^[\w./-]{1,200}$/, 'use letters, digits, and _ . / -');
const limit = z.number().min(0).optional();

const ROUNDS = ['roundSteps', 'outerLearningRate', 'outerMomentum'] as const;

/** Checks a definition and fills every default in. */
const Definition = z.strictObject({
  name: z.string().regex(NAME_PATTERN, 'use a-z, 0-9 and -, at most 63 characters'),
  model: z.string().min(1),
  base: z
    .strictObject({
      name: z.string().regex(/^[\w.-]{1,96}(?:\/[\w.-]{1,96})?$/, 'use org/name or a name: letters, digits, and . _ -'),
      revision: z
        .string()
        .regex(/^[\w./-]{1,96}$/, 'use a commit, branch or tag')
        .optional(),
    })
    .optional(),
  method: z.string().default(value('stream.method')),
  options: z.record(z.string(), z.unknown()).default({}),
  targets: z.union([z.string(), z.array(z.string()).min(1)]).default(value('stream.targets')),
  training: z
    .strictObject({
      learningRate: positive.max(100).default(value('training.learningRate')),
      batchSize: count(65_536).default(value('training.batchSize')),
      microBatchSize: count(65_536).default(value('training.microBatchSize')),
      epochs: count(10_000).default(value('training.epochs')),
      warmupRatio: z.number().min(0).max(1).default(value('training.warmupRatio')),
      weightDecay: z.number().min(0).default(value('training.weightDecay')),
      clipNorm: z.number().min(0).default(value('training.clipNorm')),
      dropout: z.number().min(0).lt(1).default(value('training.dropout')),
      gradientCheckpointing: z.boolean().optional(),
      groupByLength: z.boolean().optional(),
      // 64 workers: the references that their rounds pass on still fit our limit on payloads.
      workers: positive.int().max(64).default(value('training.workers')),
      roundSteps: count(1_000_000).optional(),
      outerLearningRate: positive.optional(),
      outerMomentum: z.number().min(0).lt(1).optional(),
    })
    .refine(({ workers, ...rest }) => workers > 1 || ROUNDS.every((name) => rest[name] === undefined), {
      message: `${ROUNDS.join(', ')} are for several workers: set workers to 2 or more, or leave them out`,
    })
    .transform(({ workers, roundSteps, outerLearningRate, outerMomentum, ...straight }) =>
      // One worker leaves no trace: its definition is that of a stream from before there were rounds.
      workers === 1
        ? straight
        : {
            ...straight,
            workers,
            roundSteps: roundSteps ?? value('training.roundSteps'),
            outerLearningRate: outerLearningRate ?? value('training.outerLearningRate'),
            outerMomentum: outerMomentum ?? value('training.outerMomentum'),
          },
    )
    .prefault({}),
  evaluation: z
    .strictObject({
      maxNewTokens: count(32_768).default(value('evaluation.maxNewTokens')),
      batchSize: count(4096).default(value('evaluation.batchSize')),
      shardSamples: count(10_000_000).default(value('evaluation.shardSamples')),
      earlierSamples: count(10_000_000).optional(),
    })
    .prefault({}),
  gate: z
    .strictObject({
      forgettingBudget: z.number().min(0).default(value('gate.forgettingBudget')),
      minimumGain: z.number().default(value('gate.minimumGain')),
      consolidations: z
        .array(z.number().gt(0).max(1))
        .max(5)
        .default([...value('gate.consolidations')]),
      whenOver: z.enum(['safe', 'ask', 'reject']).default(value('gate.whenOver') as 'safe'),
    })
    .prefault({}),
  router: z.enum(['none', 'centroid', 'lda']).default(value('router.kind') as 'none'),
  limits: z
    .strictObject({
      trainHours: positive.max(24 * 365).default(value('limits.trainHours')),
      heartbeatSeconds: z.number().min(1).max(3600).default(value('limits.heartbeatSeconds')),
      checkpointSeconds: z.number().min(0.01).max(86_400).default(value('limits.checkpointSeconds')),
    })
    .prefault({}),
  seed: z.number().int().min(0).max(0xffffffff).default(value('stream.seed')),
  gpuQueue: queue.default(QUEUES.gpu),
  evaluationQueue: queue.optional(),
  fairness: z
    .strictObject({
      key: z
        .string()
        .regex(/^[\x21-\x7e]{1,64}$/, 'use 1 to 64 letters, digits or signs, no spaces')
        .optional(),
      weight: z.number().min(0.001).max(1000).default(value('fairness.weight')),
    })
    .prefault({}),
  prices: priceTable.optional(),
  budget: z
    .strictObject({ taskGpuSeconds: limit, streamGpuSeconds: limit, taskMoney: limit, streamMoney: limit })
    .optional(),
  start: startSchema.optional(),
});

/** A definition with every default filled in; the model's digest is seen to elsewhere. */
function resolve(
  definition: StreamDefinition,
): Omit<ResolvedStream, 'model' | 'start'> & Pick<z.output<typeof Definition>, 'start'> {
  const checked = Definition.safeParse(definition);
  if (!checked.success) throw new LiloraError('BadConfig', `Stream definition: ${z.prettifyError(checked.error)}`);
  const { model: _, method, options, evaluationQueue, fairness, router, ...rest } = checked.data;
  const filled = methodNamed(method).options.safeParse(options);
  if (!filled.success)
    throw new LiloraError('BadConfig', `Options of method ${method}: ${z.prettifyError(filled.error)}`);
  const { rehearsal } = methodNamed(method);
  if ('workers' in rest.training && (looksAtData(methodNamed(method), filled.data) || rehearsal?.(filled.data)))
    throw new LiloraError(
      'BadConfig',
      `Stream definition: method ${method} looks at all data before or after training, or at earlier tasks' data, which rounds do not do. Leave training.workers out.`,
    );
  if (router !== 'none' && !methodNamed(method).needsTask)
    throw new LiloraError(
      'BadConfig',
      `Stream definition: method ${method} answers all tasks with the same numbers, so there is nothing to route. Leave router out.`,
    );
  const { budget, prices, gpuQueue } = rest;
  if ((budget?.taskMoney ?? budget?.streamMoney) !== undefined && prices?.workers?.[gpuQueue] === undefined)
    throw new LiloraError(
      'BadConfig',
      `Stream definition: a budget in money needs prices.workers["${gpuQueue}"]. Give it, or a budget in GPU-seconds.`,
    );
  return {
    ...rest,
    // None leaves no trace: the definition is that of a stream from before there were routers.
    ...(router !== 'none' && { router }),
    schema: SCHEMA,
    method: { name: method, options: filled.data },
    evaluationQueue: evaluationQueue ?? rest.gpuQueue,
    fairness: { key: rest.name, ...fairness },
  };
}

/** What a stream was defined as, with defaults for the settings that this version knows and the one that stored it did not. */
function refill({ schema: _, model, method, start, ...rest }: ResolvedStream): ResolvedStream {
  const { start: __, ...filled } = resolve({ ...rest, model: model.uri, method: method.name, options: method.options });
  return { ...filled, ...(start && { start }), model };
}

/**
 * Defines a stream (writes `stream.json` once) or finds it, and reads what its head has published. A second definition
 * under the same name must be equal: method, model and options of a stream never change.
 */
export async function openStream(
  context: DataContext,
  { definition }: { definition: StreamDefinition },
): Promise<StreamState> {
  const { store } = context;
  await probe(store);
  const { start: wanted, ...settings } = resolve(definition);
  const { name, method } = settings;
  const key = streamKeys(name).definition;

  const stored = (await store.head(key)) && (parseJson((await store.get(key)).bytes, key) as ResolvedStream);
  const { digest, folder } = await modelFolder(context, definition.model, stored ? stored.model.digest : null, {
    weights: !stored,
  });
  const known = stored?.start?.tasks;
  const start = wanted && (known ? { ...wanted, tasks: known } : await checkStart(context, settings, wanted, folder));
  const resolved: ResolvedStream = {
    ...settings,
    ...(start && { start }),
    model: { uri: definition.model, digest },
  };
  const text = canonicalJson(resolved);
  if ((await store.create(key, Buffer.from(text))) === 'exists') {
    const other = refill(parseJson((await store.get(key)).bytes, key) as ResolvedStream);
    // A stream from before bases had names may be defined again by whoever knows one.
    const { base: _, ...unnamed } = resolved;
    if (canonicalJson(other) !== text && canonicalJson(other) !== canonicalJson(unnamed))
      throw new LiloraError(
        'Conflict',
        `Stream ${name} exists with another definition (${difference(other, resolved)}). Use the same definition, or another name.`,
      );
  }
  const found = methodNamed(method.name);
  const abilities: MethodAbilities = {
    consolidates: found.consolidate !== undefined,
    hasSafeMode: found.safe !== undefined,
    ...(found.rehearsal?.(method.options) && { rehearses: true }),
  };
  return readState(context, resolved, abilities, await readHead(store, name));
}

/** The state that a head stands for. */
export async function readState(
  { store }: DataContext,
  definition: ResolvedStream,
  abilities: MethodAbilities,
  head: Head | null,
): Promise<StreamState> {
  const next = await nextGeneration(store, definition.name);
  const common = { definition, abilities, nextGeneration: next };
  const nothing = { learned: [], matrix: { tasks: [], zeroShot: [], rows: [] } };
  if (!head) return { ...common, ...nothing, head: null, bank: definition.start?.bank ?? null };
  const generation = await headGeneration(store, definition.name, head);
  const { learned, matrix, cost, routing } = await readEvaluation(store, generation);
  return {
    ...{ ...common, head, bank: generation.file('bank.safetensors'), learned, matrix },
    ...(routing && { routing: withoutChoices(routing) }),
    ...(cost && { spent: cost.stream }),
  };
}

/** Names of the top-level fields in which two definitions differ. */
function difference(a: object, b: object): string {
  const names = Object.keys(b).filter(
    (name) => canonicalJson(Reflect.get(a, name) ?? null) !== canonicalJson(Reflect.get(b, name)),
  );
  return `different: ${names.join(', ')}`;
}
