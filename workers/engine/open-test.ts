import type { EngineHooks, TestJob } from '../../activities/engine.ts';
import { readWhole } from '../../core/files.ts';
import type { EncodedSample, Sample } from '../../core/sample.ts';
import { imageSizes } from '../../datasets/image.ts';
import type { Images } from '../../datasets/images.ts';
import { PackedSplit } from '../../datasets/packed-split.ts';
import { allOf, someOf } from '../../datasets/sample-list.ts';
import { type Answer, answerPrompts, type BatchRange } from '../../learning/evaluation/evaluate.ts';
import { sampledPlaces } from '../../learning/evaluation/sample.ts';
import { type BoundAdapter, bindAdapter } from '../../learning/methods/adapter.ts';
import { readBank } from '../../learning/methods/bank.ts';
import { promptFeatures } from '../../learning/routing/features.ts';
import { generatorOf, type TestPrompts, type Warm } from './warm.ts';

/** The prompts of a test split as tokens, kept in `warm`: every generation of a stream is tested on the same splits again. */
async function promptsOf(warm: Warm, { samples: path, sample }: TestJob): Promise<TestPrompts> {
  const key = `${path}\n${JSON.stringify(sample)}`;
  const known = warm.tests.get(key);
  if (known) return known;
  const split = await PackedSplit.open(path);
  const list = sample ? someOf(split.samples, sampledPlaces(split.samples.length, sample)) : split.samples;
  const sizes = await imageSizes(await split.imagesOf(list));
  const samples = await allOf(list);
  const prompts = samples.map((each) => warm.processor.encodePrompt(each, sizes));
  const test = { samples, images: split, prompts };
  warm.tests.set(key, test);
  return test;
}

/**
 * A test split and an adapter, ready to answer: its prompts, the adapter on the engine. Shards of one evaluation come one
 * after another, and to make all this costs as much as some batches. Dispose when done.
 */
export class OpenTest {
  /** What it was opened for. Paths are enough: files of a job are named by their content. */
  readonly key: string;
  readonly samples: readonly Sample[];
  private readonly warm: Warm;
  private readonly images: Images;
  private readonly prompts: readonly EncodedSample[];
  private readonly adapter: BoundAdapter | null;

  static key({ model, samples, sample, bank, task }: TestJob): string {
    return [model.digest, samples, JSON.stringify(sample), bank, task].join('\n');
  }

  static async open(warm: Warm, job: TestJob): Promise<OpenTest> {
    const test = await promptsOf(warm, job);
    const bank = job.bank ? readBank(await readWhole(job.bank), job.bank) : null;
    return new OpenTest(warm, job, test, bank && bindAdapter(bank, job.task));
  }

  private constructor(warm: Warm, job: TestJob, test: TestPrompts, adapter: BoundAdapter | null) {
    this.key = OpenTest.key(job);
    this.warm = warm;
    this.samples = test.samples;
    this.images = test.images;
    this.prompts = test.prompts;
    this.adapter = adapter;
  }

  /** What a router sees of every prompt. */
  routed(batchSize: number, hooks: EngineHooks): Promise<Float64Array[]> {
    const { model, features } = this.warm;
    return promptFeatures({
      model,
      samples: this.prompts,
      vision: (digests) => features.ofBatch(digests, this.images),
      batchSize,
      signal: hooks.signal,
      onProgress: (step, steps) => hooks.onProgress({ step, steps, loss: null }),
    });
  }

  /** Answers to samples at these places of the split. */
  async answerSome(job: TestJob, places: readonly number[], hooks: EngineHooks): Promise<Answer[]> {
    const answers = await this.answer(
      job,
      undefined,
      hooks,
      places.map((i) => this.prompts[i]!),
    );
    return answers.map(({ sample, text }) => ({ sample: places[sample]!, text }));
  }

  /** Answers to some batches; to all when absent. */
  answer(
    { evaluation }: TestJob,
    batches: BatchRange | undefined,
    hooks: EngineHooks,
    samples = this.prompts,
  ): Promise<Answer[]> {
    const { model, processor, features } = this.warm;
    const own = this.samples.some(({ specialTokens }) => specialTokens);
    return answerPrompts({
      model,
      generator: generatorOf(this.warm, this.adapter),
      parameters: this.adapter?.parameters ?? null,
      samples,
      decode: (ids) => processor.decode(ids, own),
      features: (digests) => features.ofBatch(digests, this.images),
      maxNewTokens: evaluation.maxNewTokens,
      batchSize: evaluation.batchSize,
      ...(batches && { batches }),
      signal: hooks.signal,
      onProgress: (step, steps) => hooks.onProgress({ step, steps, loss: null }),
    });
  }

  dispose(): void {
    this.adapter?.dispose();
  }
}
