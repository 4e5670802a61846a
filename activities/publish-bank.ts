import { sha256 } from '../core/digest.ts';
import { metrics as metricsOf } from '../learning/evaluation/matrix.ts';
import { scorerNamed } from '../learning/evaluation/scorers.ts';
import { type Bank, foldOf } from '../learning/methods/method.ts';
import { methodNamed } from '../learning/methods/registry.ts';
import { modelCard } from '../report/card.ts';
import { generationReport } from '../report/html.ts';
import { type Generation, type NewFile, publish, routingPath, type StoredFile } from '../store/generations.ts';
import { writePeft } from '../store/peft.ts';
import {
  baseOf,
  type FileRef,
  type LearnedTask,
  type Matrix,
  type ResolvedStream,
  type StreamState,
} from '../workflows/contract.ts';
import { beat, type DataContext } from './context.ts';
import type { EngineInfo } from './engine.ts';
import { EVALUATION_FILE, type EvaluationFile, writeEvaluation } from './evaluation-file.ts';
import { viewOf } from './generation-view.ts';
import { readState } from './open-stream.ts';

/** What a generation's manifest says of one task, carried from generation to generation. */
export interface TaskLineage {
  readonly task: string;
  readonly dataset: { readonly uri: string; readonly digest: string };
  /** Training log. */
  readonly metrics: FileRef;
  readonly engine: EngineInfo;
  readonly codeVersion: string;
}

/** What it says of a task that was removed, carried on likewise. */
export interface RemovedTask {
  readonly task: string;
  readonly removedAt: string;
  /** The generation without it. */
  readonly generation: number;
  /** Shared tensors that were trained on it too and may hold traces of it. */
  readonly traces: readonly string[];
}

/** A generation about to be published, whatever made it. */
export interface NewGeneration {
  readonly state: StreamState;
  readonly bank: Bank;
  /** Bank and adapters: see `bankFiles`. */
  readonly files: readonly NewFile[];
  readonly evaluation: EvaluationFile;
  readonly tasks: readonly TaskLineage[];
  readonly removed: readonly RemovedTask[];
  /** Null where nothing was computed. */
  readonly engine: EngineInfo | null;
  readonly publishedAt: string;
  readonly workflow: { readonly id: string; readonly runId: string };
  /** More for the manifest. */
  readonly lineage?: Readonly<Record<string, unknown>>;
}

/**
 * Publishes bank, one PEFT adapter per task, evaluation, report and model card, then the manifest, then the head. All of
 * it follows from the input, so a repeated attempt writes the same and ends the same.
 */
export async function publishBank(context: DataContext, made: NewGeneration): Promise<StreamState> {
  const { state, bank, evaluation, tasks, removed, publishedAt, workflow } = made;
  const { definition, head, nextGeneration: generation } = state;
  const files: NewFile[] = [
    ...made.files,
    ...routingFiles(evaluation.learned),
    { path: EVALUATION_FILE, bytes: writeEvaluation(evaluation) },
  ];
  const view = await viewOf(context, { ...made, files });
  const published = await publish(context.store, {
    stream: definition.name,
    generation,
    head,
    files: [
      ...files,
      { path: 'report.html', bytes: Buffer.from(generationReport(view)) },
      { path: 'README.md', bytes: Buffer.from(modelCard(view)) },
    ],
    lineage: {
      publishedAt,
      workflow,
      model: definition.model,
      base: baseOf(definition),
      method: definition.method,
      seed: definition.seed,
      tasks,
      ...(removed.length > 0 && { removed }),
      capabilities: capabilitiesOf(bank),
      ...(definition.start && { start: definition.start }),
      ...made.lineage,
    },
  });
  return readState(context, definition, state.abilities, published);
}

/** The bank and every task as a plain LoRA; what is byte for byte as in the parent is referred to there. */
export function bankFiles(
  bank: Bank,
  file: NewFile,
  definition: Pick<ResolvedStream, 'model' | 'base'>,
  parent: Generation | null,
): NewFile[] {
  const base = baseOf(definition);
  const fold = foldOf(methodNamed(bank.method), bank.options);
  if (!fold) return [file];
  const known = new Map<string, StoredFile>(Object.entries(parent?.manifest.files ?? {}));
  const adapters = bank.tasks.flatMap((task) =>
    writePeft(fold(bank, task), base).map(({ path: name, bytes }): NewFile => {
      const path = `adapters/${task}/${name}`;
      const stored = known.get(path);
      return stored?.sha256 === sha256(bytes) ? { path, stored } : { path, bytes };
    }),
  );
  beat({ exported: adapters.length });
  return [file, ...adapters];
}

/** What the router keeps of every task. */
function routingFiles(learned: readonly LearnedTask[]): NewFile[] {
  return learned.flatMap(({ task, routing }) => (routing ? [{ path: routingPath(task), stored: routing }] : []));
}

/** Summary numbers of a matrix. */
export function measured(
  learned: readonly LearnedTask[],
  matrix: Matrix,
  instructionFollowing: readonly number[],
): EvaluationFile['metrics'] {
  // CIDEr has another scale.
  const captions = learned.filter(({ metric }) => scorerNamed(metric).unbounded).map(({ task }) => task);
  return { ...metricsOf(matrix, instructionFollowing, { captions }) };
}

/**
 * What a server must be able to do for these adapters: not every one adapts more than the language model. Without
 * `peftAdapters` only the bank holds what was learned.
 */
function capabilitiesOf({ layers, method, options }: Bank) {
  const outside = layers.filter(({ name }) => !/\.(language|text)_model\.layers\./.test(name)).map(({ name }) => name);
  const peftAdapters = foldOf(methodNamed(method), options) !== null;
  return {
    languageModelOnly: outside.length === 0,
    otherLayers: outside,
    peftAdapters,
    ...((options['rankPattern'] ?? options['alphaPattern']) !== undefined && { layerRanks: true }),
    ...(options['useRslora'] === true && { rslora: true }),
  };
}

/** Tasks that the parent knows, and those that were removed before. */
export function lineageOf(parent: Generation | null): Pick<NewGeneration, 'tasks' | 'removed'> {
  const { tasks, removed } = (parent?.manifest.lineage ?? {}) as Partial<Pick<NewGeneration, 'tasks' | 'removed'>>;
  return { tasks: tasks ?? [], removed: removed ?? [] };
}
