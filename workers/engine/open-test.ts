import type { EngineHooks, TestJob } from '../../activities/engine.ts';
import { readWhole } from '../../core/files.ts';
import type { EncodedSample, Sample } from '../../core/sample.ts';
import { imageSizes } from '../../datasets/image.ts';
import type { Images } from '../../datasets/images.ts';
import { PackedSplit } from '../../datasets/prepared.ts';
import { type Answer, answerPrompts, type BatchRange } from '../../learning/evaluation/evaluate.ts';
import { type BoundAdapter, bindAdapter } from '../../learning/methods/adapter.ts';
import { readBank } from '../../learning/methods/bank.ts';
import { promptFeatures } from '../../learning/routing/features.ts';
import { generatorOf, type Warm } from './warm.ts';

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

  static key({ model, samples, bank, task }: TestJob): string {
    return [model.digest, samples, bank, task].join('\n');
  }

  static async open(warm: Warm, job: TestJob): Promise<OpenTest> {
    const split = await PackedSplit.open(job.samples);
    const sizes = await imageSizes(split);
    const prompts = split.samples.map((sample) => warm.processor.encodePrompt(sample, sizes));
    const bank = job.bank ? readBank(await readWhole(job.bank), job.bank) : null;
    return new OpenTest(warm, job, split, prompts, bank && bindAdapter(bank, job.task));
  }

  private constructor(
    warm: Warm,
    job: TestJob,
    split: PackedSplit,
    prompts: readonly EncodedSample[],
    adapter: BoundAdapter | null,
  ) {
    this.key = OpenTest.key(job);
    this.warm = warm;
    this.samples = split.samples;
    this.images = split;
    this.prompts = prompts;
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
    return answerPrompts({
      model,
      generator: generatorOf(this.warm, this.adapter),
      parameters: this.adapter?.parameters ?? null,
      samples,
      decode: (ids) => processor.decode(ids),
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
