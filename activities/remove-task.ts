import { LiloraError } from '../core/errors.ts';
import { readWhole } from '../core/files.ts';
import { canonicalJson, parseJson } from '../core/json.ts';
import { withoutTask } from '../learning/evaluation/matrix.ts';
import { readBank, writeBank } from '../learning/methods/bank.ts';
import { forgetTask } from '../learning/methods/forget.ts';
import { carryOut, type RemovalPlan } from '../store/compaction.ts';
import { readGeneration, readHead, streamKeys } from '../store/generations.ts';
import { planTaskRemoval } from '../store/task-removal.ts';
import type { StreamState } from '../workflows/contract.ts';
import { beat, beating, type DataContext, localFile } from './context.ts';
import { readEvaluation } from './evaluation-file.ts';
import { readState } from './open-stream.ts';
import { bankFiles, lineageOf, measured, publishBank, type RemovedTask } from './publish-bank.ts';

export interface RemoveTaskInput {
  readonly state: StreamState;
  readonly task: string;
  readonly removedAt: string;
  readonly workflow: { readonly id: string; readonly runId: string };
}

/** Answer to a removal. */
export interface TaskRemoval {
  readonly task: string;
  /** The generation without it, now the current one. */
  readonly generation: number;
  /** Shared tensors that were trained on it too and may hold traces of it. */
  readonly traces: readonly string[];
  /** Objects that went, and their bytes. */
  readonly objects: number;
  readonly bytes: number;
}

/** What goes with a task: in the store before the first object goes, and afterwards the record that it went. */
export interface RemovalRecord {
  readonly schema: 1;
  readonly removed: RemovedTask;
  /** Version of the dataset that it learned: a sweep does not bring it back. Absent in records of older versions. */
  readonly dataset?: string;
  readonly plan: RemovalPlan;
}

/**
 * Takes a task out of a stream: publishes a generation whose bank and adapters no longer hold it, then removes every
 * older generation that does, the task's folder, and what else in the store was made from its data.
 */
export async function removeTask(
  context: DataContext,
  input: RemoveTaskInput,
): Promise<{ state: StreamState; removal: TaskRemoval }> {
  const { store } = context;
  const { definition, abilities, head, learned, nextGeneration } = input.state;
  const own = learned.find(({ task }) => task === input.task);
  if (!head || !own)
    throw new LiloraError('NotFound', `Stream ${definition.name} has not learned a task "${input.task}".`);
  if (definition.start?.tasks.includes(input.task))
    throw new LiloraError(
      'BadConfig',
      `"${input.task}" came with the bank that stream ${definition.name} started from, which would keep it. Start a new stream from a bank without it, and delete the folder of this one.`,
    );
  if (learned.length === 1)
    throw new LiloraError(
      'BadConfig',
      `"${input.task}" is the only task of stream ${definition.name}: nothing would be left. Start a new stream, and delete the folder of this one.`,
    );
  const key = `${streamKeys(definition.name).removals}${nextGeneration}-${input.task}.json`;
  // A repeated attempt carries out the plan of the first one: part of what it was made from may be gone.
  let record = (await store.head(key)) && (parseJson((await store.get(key)).bytes, key) as RemovalRecord);
  if (!record) {
    const removed = await publishWithout(context, input);
    const plan = await beating(() => planTaskRemoval(store, definition.name, input.task));
    record = { schema: 1, removed, dataset: own.dataset.digest, plan };
    await store.create(key, Buffer.from(canonicalJson(record)));
  }
  const { removed, plan } = record;
  let gone = 0;
  await carryOut(store, plan, () => beat({ gone: ++gone }));
  const { task, generation, traces } = removed;
  const objects = plan.flat();
  return {
    state: await readState(context, definition, abilities, await readHead(store, definition.name)),
    removal: {
      task,
      generation,
      traces,
      objects: objects.length,
      bytes: objects.reduce((sum, { size }) => sum + size, 0),
    },
  };
}

/** Publishes the generation without the task: nothing is computed, every other score is what it was. */
async function publishWithout(context: DataContext, input: RemoveTaskInput): Promise<RemovedTask> {
  const { store } = context;
  const { state, task, removedAt, workflow } = input;
  const { definition, head, learned, nextGeneration: generation } = state;
  const parent = await readGeneration(store, definition.name, head!.generation, head!.manifestDigest);
  const stored = readBank(await readWhole(await localFile(context, state.bank!)), state.bank!.key);
  const { bank, traces } = forgetTask(stored, task);
  const file = { path: 'bank.safetensors', bytes: writeBank(bank) };
  // Routed scores were measured with the task among those to choose from; the next task measures them again.
  const { routing: _, ...earlier } = await readEvaluation(store, parent);
  const others = learned.filter((each) => each.task !== task);
  const matrix = withoutTask(state.matrix, task);
  const instructionFollowing = earlier.instructionFollowing.filter((_, j) => learned[j]!.task !== task);
  const removed: RemovedTask = { task, removedAt, generation, traces };
  const lineage = lineageOf(parent);
  await publishBank(context, {
    ...{ state, bank, workflow, engine: null, publishedAt: removedAt },
    files: bankFiles(bank, file, definition, parent),
    evaluation: {
      ...earlier,
      learned: others,
      matrix,
      instructionFollowing,
      metrics: measured(others, matrix, instructionFollowing),
      gate: [],
      predictions: earlier.predictions.filter((each) => each.task !== task),
      ...(earlier.sampled && { sampled: earlier.sampled.filter((each) => each.task !== task) }),
    },
    tasks: lineage.tasks.filter((each) => each.task !== task),
    removed: [...lineage.removed, removed],
  });
  return removed;
}
