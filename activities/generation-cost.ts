import { type CostNumbers, costNumbers, type PriceTable, sumUsage, type Usage } from '../core/cost.ts';
import type { CostView } from '../report/cost.ts';
import type { NewFile } from '../store/generations.ts';

/** What a generation tells of its cost. All of it follows from the input of its publication, so it leaves that step out. */
export interface CostFile {
  /** In the order of learning. */
  readonly tasks: readonly TaskCost[];
  /** Everything that the stream used until then, also for tasks that were never published. */
  readonly stream: Usage;
  /** The stream's price table; null when it has none. */
  readonly prices: PriceTable | null;
}

export interface TaskCost {
  readonly task: string;
  readonly usage: Usage;
  /** Size of the bank and of the adapters that the task's generation added. */
  readonly storedBytes: number;
}

/** What the publishing workflow knows: the task's own usage, and the stream's before it. */
export interface PublishedUsage {
  readonly task: Usage;
  readonly before: Usage;
}

/** @param earlier of the parent; undefined for the first generation and for parents of older versions */
export function costFile(
  task: string,
  usage: PublishedUsage,
  earlier: CostFile | undefined,
  files: readonly NewFile[],
  prices: PriceTable | undefined,
): CostFile {
  const storedBytes = files.reduce(
    (sum, file) => sum + ('stored' in file ? 0 : 'bytes' in file ? file.bytes.byteLength : file.size),
    0,
  );
  return {
    tasks: [...(earlier?.tasks ?? []), { task, usage: usage.task, storedBytes }],
    stream: sumUsage(usage.before, usage.task),
    prices: prices ?? null,
  };
}

/** The same for people. */
export function costView({ tasks, stream, prices }: CostFile): CostView {
  return {
    currency: prices?.currency ?? null,
    tasks: tasks.map(({ task, usage, storedBytes }) => ({ task, storedBytes, ...costNumbers(usage, prices) })),
    stream: costNumbers(stream, prices),
  };
}

/** The same for the manifest: of the task that the generation learned, and of the stream until then. */
export function costLineage({ tasks, stream, prices }: CostFile): Record<'task' | 'stream', CostNumbers> {
  return { task: costNumbers(tasks.at(-1)!.usage, prices), stream: costNumbers(stream, prices) };
}
