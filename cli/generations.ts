import { type RoutingFile, readEvaluation } from '../activities/evaluation-file.ts';
import { isLiloraError, LiloraError } from '../core/errors.ts';
import { type Generation, headGeneration, readHead } from '../store/generations.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { type FileRef, type Matrix, NAME_PATTERN, type ResolvedStream } from '../workflows/contract.ts';

/** A published generation, as the verbs that read it need it. */
export interface Published {
  readonly generation: number;
  readonly manifest: Generation['manifest'];
  readonly manifestDigest: string;
  /** All that it has an adapter for, in the order of learning: also those of a bank that the stream started from. */
  readonly tasks: readonly string[];
  readonly matrix: Matrix;
  readonly metrics: Readonly<Record<string, number | null>>;
  /** Where the stream has a router that was measured on these tasks. */
  readonly routing?: RoutingFile;
  /** An object of it by its path, for example `adapters/<task>/adapter_config.json`. */
  file(path: string): FileRef;
}

/** Reads a generation of a stream, by default the one at its head. */
export async function published(store: ObjectStore, stream: string, wanted?: number): Promise<Published> {
  const head = await readHead(store, stream);
  if (head === null)
    throw new LiloraError('NotFound', `Stream ${stream} has published nothing yet. See \`lilora status ${stream}\`.`);
  const generation = await headGeneration(store, stream, head, wanted);
  const number = generation.manifest.generation;
  const { learned, matrix, metrics, routing } = await readEvaluation(store, generation);
  const { start } = generation.manifest.lineage as Partial<Pick<ResolvedStream, 'start'>>;
  const tasks = [...new Set([...(start?.tasks ?? []), ...learned.map(({ task }) => task)])];
  // They become folders on this disk.
  const strange = tasks.find((task) => !NAME_PATTERN.test(task));
  if (strange !== undefined)
    throw new LiloraError(
      'IntegrityError',
      `Generation ${number} of ${stream} names a task ${JSON.stringify(strange)}. Do not use it.`,
    );
  return {
    generation: number,
    manifest: generation.manifest,
    manifestDigest: generation.manifestDigest,
    tasks,
    matrix,
    metrics,
    ...(routing && { routing }),
    file: (path) => generation.file(path),
  };
}

/** The files of a task's PEFT adapter. */
export const ADAPTER_FILES = ['adapter_config.json', 'adapter_model.safetensors'] as const;

/** Whether a generation holds a PEFT adapter of a task: it does not where no ordinary LoRA computes what its method does. */
export function holdsAdapter({ file }: Published, task: string): boolean {
  try {
    file(`adapters/${task}/${ADAPTER_FILES[0]}`);
    return true;
  } catch (error) {
    if (isLiloraError(error, 'NotFound')) return false;
    throw error;
  }
}

/** `NotFound` when a generation does not know the task. */
export function mustKnowTask({ generation, tasks }: Published, task: string): void {
  if (tasks.includes(task)) return;
  throw new LiloraError('NotFound', `Generation ${generation} knows no task ${task}. It knows: ${tasks.join(', ')}.`);
}

/** Where a task's adapter is in a generation; `NotFound` when that generation does not know the task, or has none of it. */
export function adapterFiles(published: Published, task: string): Array<{ name: string; ref: FileRef }> {
  mustKnowTask(published, task);
  if (holdsAdapter(published, task))
    return ADAPTER_FILES.map((name) => ({ name, ref: published.file(`adapters/${task}/${name}`) }));
  const problem = `Generation ${published.generation} holds no PEFT adapter of ${task}: no ordinary LoRA computes what its method does`;
  throw new LiloraError('NotFound', `${problem}. What was learned is in its bank, and \`lilora predict\` runs it.`);
}
