import sharp from 'sharp';
import { sha256 } from '../core/digest.ts';
import { isLiloraError } from '../core/errors.ts';
import type { Sample } from '../core/sample.ts';
import { decodeImage } from '../datasets/image.ts';
import type { Images } from '../datasets/images.ts';
import { PackedSplit } from '../datasets/packed-split.ts';
import type { Prediction } from '../learning/evaluation/evaluate.ts';
import { pairParameters } from '../learning/methods/lora.ts';
import { type Bank, foldOf } from '../learning/methods/method.ts';
import type { LoraOptions } from '../learning/methods/ranks.ts';
import { methodNamed } from '../learning/methods/registry.ts';
import type { FileView, GenerationView, PredictionView, TaskView } from '../report/generation-view.ts';
import type { NewFile } from '../store/generations.ts';
import { baseOf, type LearnedTask } from '../workflows/contract.ts';
import { type DataContext, localFile } from './context.ts';
import type { EvaluationFile } from './evaluation-file.ts';
import { costView } from './generation-cost.ts';
import { readLines } from './json-lines.ts';
import type { NewGeneration, TaskLineage } from './publish-bank.ts';

/** Answers shown of every task: so many right ones and so many wrong ones. */
const SHOWN = 3;
/** Largest side of a picture in the report, in pixels. */
const PICTURE = 168;

/** The generation that is about to be published, as the report and the model card show it. */
export async function viewOf(context: DataContext, made: NewGeneration): Promise<GenerationView> {
  const { definition, head, nextGeneration } = made.state;
  const { bank, evaluation, files } = made;
  const tasks: TaskView[] = [];
  for (const [j, learned] of evaluation.learned.entries())
    tasks.push({
      ...(await taskView(context, learned, evaluation, j)),
      adapter: foldOf(methodNamed(bank.method), bank.options) ? `adapters/${learned.task}` : null,
    });
  return {
    stream: definition.name,
    generation: nextGeneration,
    parent: head?.generation ?? null,
    publishedAt: made.publishedAt,
    model: { ...definition.model, ...baseOf(definition) },
    method: definition.method,
    targets: definition.targets,
    training: { ...definition.training },
    seed: definition.seed,
    tasks,
    matrix: evaluation.matrix,
    metrics: evaluation.metrics,
    gate: evaluation.gate,
    losses: await Promise.all(made.tasks.map((lineage) => lossCurve(context, lineage))),
    parameters: parametersOf(bank),
    files: files.map(fileView),
    engine: made.engine,
    codeVersion: context.codeVersion,
    workflow: made.workflow,
    removed: made.removed,
    ...(definition.start && { start: { sha256: definition.start.bank.sha256, tasks: definition.start.tasks } }),
    ...rehearsedBy(bank),
    ...(evaluation.routing && { routing: evaluation.routing }),
    ...(evaluation.sampled && { sampled: evaluation.sampled }),
    cost: evaluation.cost ? costView(evaluation.cost) : null,
  };
}

async function taskView(
  context: DataContext,
  { task, dataset, metric, test, generation }: LearnedTask,
  evaluation: EvaluationFile,
  j: number,
): Promise<Omit<TaskView, 'adapter'>> {
  const { file } = evaluation.predictions[j]!;
  const predictions = await readLines<Prediction>(context, file).catch((error) => {
    if (isLiloraError(error, 'NotFound')) return []; // caches may be compacted at any time: no examples then
    throw error;
  });
  const chosen = [
    ...predictions.filter(({ score }) => score >= 50).slice(0, SHOWN),
    ...predictions.filter(({ score }) => score < 50).slice(0, SHOWN),
  ];
  const split = await PackedSplit.open(await localFile(context, test), test.key);
  const wanted = new Set(chosen.map(({ id }) => id));
  const byId = new Map<string, Sample>();
  for await (const sample of split.samples) if (wanted.has(sample.id)) byId.set(sample.id, sample);
  return {
    task,
    dataset: { ...dataset, counts: { test: split.samples.length } },
    metric,
    generation,
    instructionFollowing: evaluation.instructionFollowing[j] ?? null,
    predictions: await Promise.all(
      chosen.map((prediction) => predictionView(prediction, byId.get(prediction.id), split)),
    ),
  };
}

async function predictionView(
  { id, text: answer, references, score: percent }: Prediction,
  sample: Sample | undefined,
  images: Images,
): Promise<PredictionView> {
  const prompt =
    sample?.turns
      .find(({ role }) => role === 'user')
      ?.text.replaceAll('<image>', '')
      .trim() ?? '';
  const bytes = await images.get(sample?.images[0] ?? '');
  return { id, prompt, answer, references, score: percent / 100, ...(bytes ? { image: await picture(bytes) } : {}) };
}

/** A small PNG of what the model saw. The bytes were checked when the dataset was prepared. */
async function picture(bytes: Uint8Array): Promise<string> {
  const { data, width, height } = await decodeImage(bytes, 'picture');
  const small = await sharp(data, { raw: { width, height, channels: 3 } })
    .resize({ width: PICTURE, height: PICTURE, fit: 'inside', withoutEnlargement: true })
    .png({ compressionLevel: 9, palette: true })
    .toBuffer();
  return `data:image/png;base64,${small.toString('base64')}`;
}

async function lossCurve(context: DataContext, { task, metrics }: TaskLineage) {
  const lines = await readLines<{ step: number; loss: number | null }>(context, metrics);
  return { task, points: lines.flatMap(({ step, loss }) => (typeof loss === 'number' ? [{ step, loss }] : [])) };
}

function rehearsedBy({ method: name, options }: Bank): Pick<GenerationView, 'rehearsed'> {
  const method = methodNamed(name);
  const rehearsal = method.rehearsal?.(method.options.parse(options));
  return rehearsal ? { rehearsed: { perTask: rehearsal.perTask, aside: rehearsal.place === 'aside' } } : {};
}

function parametersOf(bank: Bank) {
  const method = methodNamed(bank.method);
  const { rank } = bank.options;
  if (typeof rank !== 'number') return null;
  const { shared, perTask } = method.describe(bank.layers, method.options.parse(bank.options)).parameters;
  return { shared, perTask, loraPerTask: pairParameters(bank.layers, bank.options as LoraOptions) };
}

function fileView(file: NewFile): FileView {
  if ('stored' in file) return { path: file.stored.key, size: file.stored.size, sha256: file.stored.sha256 };
  if ('bytes' in file) return { path: file.path, size: file.bytes.byteLength, sha256: sha256(file.bytes) };
  return { path: file.path, size: file.size, sha256: file.sha256 };
}
