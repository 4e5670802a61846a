import { z } from 'zod';
import { LiloraError } from '../core/errors.ts';
import { readWhole } from '../core/files.ts';
import { mustMatch, readBank } from '../learning/methods/bank.ts';
import type { Bank } from '../learning/methods/method.ts';
import { SHAPING } from '../learning/methods/ranks.ts';
import { methodNamed } from '../learning/methods/registry.ts';
import { selectLayers } from '../learning/methods/targets.ts';
import { modelMemory } from '../learning/model/memory.ts';
import { readDefinition } from '../learning/model/registry.ts';
import {
  type FileRef,
  type LearnedTask,
  NAME_PATTERN,
  type ResolvedStream,
  type StreamState,
} from '../workflows/contract.ts';
import type { ResolvedStart } from '../workflows/definition-contract.ts';
import { type DataContext, localFile } from './context.ts';
import type { Evaluated } from './evaluate-task.ts';
import { bankFiles, measured, publishBank } from './publish-bank.ts';

/** What a stream starts from, as a definition names it. */
export const startSchema = z.strictObject({
  bank: z.strictObject({
    // A stream reads what was put there for streams to start from; the rest of the store is of others.
    key: z
      .string()
      .regex(/^banks\/[0-9a-f]{64}\.safetensors$/, 'use a bank that `lilora create --start` put into the store'),
    size: z.int().positive(),
    sha256: z.string().regex(/^[0-9a-f]{64}$/),
  }),
  datasets: z.record(z.string(), z.string().min(1)).optional(),
  tasks: z.array(z.string()).optional(),
});

const refuse = (why: string) => new LiloraError('BadConfig', `The stream cannot start from this bank: ${why}.`);

/**
 * Checks that a stream can go on from a bank, and names the tasks in it: same method, same ranks and scales, and exactly
 * the layers that the targets choose in this model.
 * @param folder of the base model
 */
export async function checkStart(
  context: DataContext,
  stream: Pick<ResolvedStream, 'method' | 'targets' | 'router'>,
  start: z.output<typeof startSchema>,
  folder: string,
): Promise<ResolvedStart> {
  const { name, options } = stream.method;
  if (methodNamed(name).rehearsal?.({ ...options }))
    throw refuse(`method ${name} learns from the data of earlier tasks again, and there is none of those in the bank`);
  if (stream.router) throw refuse('a router knows nothing of the tasks in it. Leave router out');
  const bank = await readStart(context, start.bank);
  if (bank.method !== name) throw refuse(`it is of method ${bank.method}, not ${name}`);
  mustMatch(bank, options, [...SHAPING, 'innerRank', 'innerShare']);
  if (bank.tasks.length === 0) throw refuse('it holds no task');
  const strange = bank.tasks.find((task) => !NAME_PATTERN.test(task));
  if (strange !== undefined) throw refuse(`"${strange}" is no name of a task`);
  const unknown = Object.keys(start.datasets ?? {}).find((task) => !bank.tasks.includes(task));
  if (unknown !== undefined)
    throw refuse(`a dataset is named for "${unknown}", but its tasks are ${bank.tasks.join(', ')}`);
  const chosen = selectLayers(modelMemory(await readDefinition(folder)).layers, stream.targets);
  mustBeAlike(bank, new Map(chosen.map((layer) => [layer.name, layer])));
  return { ...start, tasks: bank.tasks };
}

function mustBeAlike({ layers }: Bank, chosen: ReadonlyMap<string, Bank['layers'][number]>): void {
  const has = new Set(layers.map(({ name }) => name));
  const shape = ({ in: inputs, out }: Bank['layers'][number]) => `[${out}, ${inputs}]`;
  const differs = [
    ...layers.flatMap((layer) => {
      const found = chosen.get(layer.name);
      if (!found) return [`${layer.name} is not among the targets`];
      return shape(found) === shape(layer) ? [] : [`${layer.name} is ${shape(layer)}, in this model ${shape(found)}`];
    }),
    ...[...chosen.keys()].flatMap((name) => (has.has(name) ? [] : [`${name} is not in the bank`])),
  ];
  if (differs.length === 0) return;
  const more = differs.length > 3 ? ` and ${differs.length - 3} more` : '';
  throw refuse(`${differs.slice(0, 3).join('; ')}${more}. Use its targets and its base model`);
}

async function readStart(context: DataContext, ref: FileRef): Promise<Bank> {
  return readBank(await readWhole(await localFile(context, ref)), ref.key);
}

export interface PublishStartInput {
  readonly state: StreamState;
  /** Tasks of the bank whose datasets are named, in the order of learning. */
  readonly tests: ReadonlyArray<Pick<LearnedTask, 'task' | 'dataset' | 'metric' | 'test'>>;
  /** On the base model, and with the bank, in the order of `tests`. */
  readonly zeroShot: readonly Evaluated[];
  readonly evaluations: readonly Evaluated[];
  readonly publishedAt: string;
  readonly workflow: { readonly id: string; readonly runId: string };
}

/**
 * Publishes the bank that a stream starts from as its first generation, with an adapter for every task and the scores of
 * those that were evaluated. What they scored when they were learned is not known: in every row they have the score of now.
 */
export async function publishStart(context: DataContext, input: PublishStartInput): Promise<StreamState> {
  const { state, tests, zeroShot, evaluations, publishedAt, workflow } = input;
  const { definition, nextGeneration: generation } = state;
  const { bank: ref } = definition.start!;
  const bank = await readStart(context, ref);
  const scores = evaluations.map(({ score }) => score);
  const matrix = {
    tasks: tests.map(({ task }) => task),
    zeroShot: zeroShot.map(({ score }) => score),
    rows: tests.map((_, i) => scores.slice(0, i + 1)),
  };
  const learned = tests.map((test, i) => ({ ...test, samples: evaluations[i]!.count, generation }));
  const instructionFollowing = evaluations.map((evaluated) => evaluated.instructionFollowing);
  return publishBank(context, {
    ...{ state, bank, publishedAt, workflow, engine: null, tasks: [], removed: [] },
    files: bankFiles(bank, { path: 'bank.safetensors', stored: ref }, definition, null),
    evaluation: {
      ...{ schema: 1, learned, matrix, instructionFollowing, gate: [] },
      metrics: measured(learned, matrix, instructionFollowing),
      predictions: evaluations.map(({ task, predictions }) => ({ task, file: predictions })),
    },
  });
}
