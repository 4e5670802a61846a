import { readFile } from 'node:fs/promises';
import { sha256 } from '../core/digest.ts';
import { metrics as metricsOf } from '../learning/evaluation/matrix.ts';
import { scorerNamed } from '../learning/evaluation/scorers.ts';
import { readBank } from '../learning/methods/bank.ts';
import type { Bank } from '../learning/methods/method.ts';
import { methodNamed } from '../learning/methods/registry.ts';
import { modelCard } from '../report/card.ts';
import { generationReport } from '../report/html.ts';
import { type Generation, type NewFile, publish, readGeneration, type StoredFile } from '../store/generations.ts';
import { writePeft } from '../store/peft.ts';
import type { FileRef, GateReport, LearnedTask, Matrix, StreamState } from '../workflows/contract.ts';
import { beat, type DataContext, localFile } from './context.ts';
import type { EngineInfo } from './engine.ts';
import type { Evaluated } from './evaluate-task.ts';
import { EVALUATION_FILE, type EvaluationFile, readEvaluation, writeEvaluation } from './evaluation-file.ts';
import { costFile, costLineage, type PublishedUsage } from './generation-cost.ts';
import { viewOf } from './generation-view.ts';
import { readState } from './open-stream.ts';

export interface PublishInput {
  readonly state: StreamState;
  readonly task: string;
  readonly dataset: { readonly uri: string; readonly digest: string };
  readonly metric: string;
  /** The packed test split: later generations are tested on it. */
  readonly test: FileRef;
  /** The packed training split, where later tasks rehearse it. */
  readonly train?: FileRef;
  /** Training log of the task. */
  readonly metrics: FileRef;
  readonly bank: FileRef;
  readonly zeroShot: Evaluated;
  /** On the new bank: every learned task in order, then this one. */
  readonly evaluations: readonly Evaluated[];
  readonly gate: readonly GateReport[];
  readonly engine: EngineInfo;
  readonly publishedAt: string;
  readonly workflow: { readonly id: string; readonly runId: string };
  /** Absent when a workflow of an older version asks. */
  readonly usage?: PublishedUsage;
}

/** What a generation's manifest says of one task, carried from generation to generation. */
export interface TaskLineage {
  readonly task: string;
  readonly dataset: { readonly uri: string; readonly digest: string };
  /** Training log. */
  readonly metrics: FileRef;
  readonly engine: EngineInfo;
  readonly codeVersion: string;
}

/**
 * Publishes what a task made of the stream: bank, one PEFT adapter per task, evaluation, report and model card, then the
 * manifest, then the head. All of it follows from the input, so a repeated attempt writes the same and ends the same.
 */
export async function publishGeneration(context: DataContext, input: PublishInput): Promise<StreamState> {
  const { store } = context;
  const { state, task, dataset } = input;
  const { definition, head, nextGeneration: number } = state;
  const parent = head && (await readGeneration(store, definition.name, head.generation, head.manifestDigest));
  const local = await localFile(context, input.bank);
  const bank = readBank(await readFile(local), input.bank.key);
  const adapters = exportAdapters(bank, definition.model.uri, parent);
  beat({ exported: adapters.length });

  const matrix = withRow(state.matrix, task, input.zeroShot, input.evaluations);
  const learned: LearnedTask[] = [
    ...state.learned,
    { task, dataset, metric: input.metric, test: input.test, ...rehearsable(input.train), generation: number },
  ].map((each, j) => ({ ...each, samples: input.evaluations[j]!.count }));
  const instructionFollowing = input.evaluations.map((evaluated) => evaluated.instructionFollowing);
  const made: NewFile[] = [
    { path: 'bank.safetensors', local, size: input.bank.size, sha256: input.bank.sha256 },
    ...adapters,
  ];
  const earlier = parent && (await readEvaluation(store, parent)).cost;
  const cost = input.usage && costFile(task, input.usage, earlier ?? undefined, made, definition.prices);
  const evaluation: EvaluationFile = {
    schema: 1,
    learned,
    matrix,
    instructionFollowing,
    metrics: { ...metricsOf(matrix, instructionFollowing, { captions: captionsOf(learned) }) },
    gate: input.gate,
    predictions: input.evaluations.map(({ task: name, predictions }) => ({ task: name, file: predictions })),
    ...(cost && { cost }),
  };
  const { engine, metrics } = input;
  const tasks: TaskLineage[] = [
    ...tasksOf(parent),
    { task, dataset, metrics, engine, codeVersion: context.codeVersion },
  ];
  const files: NewFile[] = [...made, { path: EVALUATION_FILE, bytes: writeEvaluation(evaluation) }];
  const view = await viewOf(context, input, { bank, evaluation, tasks, files });
  const published = await publish(store, {
    stream: definition.name,
    generation: number,
    head,
    files: [
      ...files,
      { path: 'report.html', bytes: Buffer.from(generationReport(view)) },
      { path: 'README.md', bytes: Buffer.from(modelCard(view)) },
    ],
    lineage: {
      publishedAt: input.publishedAt,
      workflow: input.workflow,
      model: definition.model,
      method: definition.method,
      seed: definition.seed,
      tasks,
      capabilities: capabilitiesOf(bank),
      ...(cost && { cost: costLineage(cost) }),
    },
  });
  return readState(context, definition, state.abilities, published);
}

const rehearsable = (train: FileRef | undefined) => (train ? { train } : {});

/** Tasks whose score is CIDEr, which has another scale. */
const captionsOf = (learned: readonly LearnedTask[]) =>
  learned.filter(({ metric }) => scorerNamed(metric).unbounded).map(({ task }) => task);

/** The matrix with one more row and column. */
function withRow(matrix: Matrix, task: string, zeroShot: Evaluated, evaluations: readonly Evaluated[]): Matrix {
  return {
    tasks: [...matrix.tasks, task],
    zeroShot: [...matrix.zeroShot, zeroShot.score],
    rows: [...matrix.rows, evaluations.map(({ score }) => score)],
  };
}

/** Every task as a plain LoRA; what is byte for byte as in the parent is referred to there. */
function exportAdapters(bank: Bank, base: string, parent: Generation | null): NewFile[] {
  const method = methodNamed(bank.method);
  if (!method.fold) return [];
  const known = new Map<string, StoredFile>(Object.entries(parent?.manifest.files ?? {}));
  return bank.tasks.flatMap((task) =>
    writePeft(method.fold!(bank, task), base).map(({ path: name, bytes }): NewFile => {
      const path = `adapters/${task}/${name}`;
      const stored = known.get(path);
      return stored?.sha256 === sha256(bytes) ? { path, stored } : { path, bytes };
    }),
  );
}

/** What a server must be able to do for these adapters: not every one adapts more than the language model. */
function capabilitiesOf({ layers }: Bank) {
  const outside = layers.filter(({ name }) => !name.includes('language_model')).map(({ name }) => name);
  return { languageModelOnly: outside.length === 0, otherLayers: outside };
}

/** Lineage of the tasks that the parent knows. */
function tasksOf(parent: Generation | null): readonly TaskLineage[] {
  return (parent?.manifest.lineage['tasks'] as readonly TaskLineage[] | undefined) ?? [];
}
