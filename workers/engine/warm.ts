import { LRUCache } from 'lru-cache';
import type { EncodedSample, Sample } from '../../core/sample.ts';
import type { Images } from '../../datasets/images.ts';
import type { Processor } from '../../datasets/processor/processor.ts';
import type { BoundAdapter } from '../../learning/methods/adapter.ts';
import { type BaseModel, type Generator, noAdapter } from '../../learning/model/model.ts';
import type { Features } from './features.ts';

/** A test split, or the samples that stand for it, as the model is asked. */
export interface TestPrompts {
  readonly samples: readonly Sample[];
  readonly images: Images;
  /** Of the samples, in their order. */
  readonly prompts: readonly EncodedSample[];
}

/** Memory for test splits that were opened, in bytes: some hundred thousand short prompts. */
const TEST_BYTES = 256 * 2 ** 20;
/** Of a sample beside its tokens: texts, ids, objects. */
const SAMPLE_BYTES = 1000;

export const openedTests = (): LRUCache<string, TestPrompts> =>
  new LRUCache({
    maxSize: TEST_BYTES,
    sizeCalculation: ({ prompts }) =>
      prompts.reduce((sum, { inputIds }) => sum + SAMPLE_BYTES + inputIds.byteLength, 1),
  });

/** A base model in memory, and what goes with it. */
export interface Warm {
  readonly digest: string;
  readonly model: BaseModel;
  readonly processor: Processor;
  readonly features: Features;
  /** Test splits that were opened, those opened last. */
  readonly tests: LRUCache<string, TestPrompts>;
  /** Compiled generation, for the kind of adapter that answered last: the tasks of a stream have one kind. */
  generator?: { readonly kind: string; readonly generator: Generator };
}

/** Generation with adapters of this one's kind, compiled once; without an adapter, that of the base model. */
export function generatorOf(warm: Warm, adapter: BoundAdapter | null): Generator {
  const kind = adapter?.kind ?? 'none';
  if (warm.generator?.kind !== kind) {
    warm.generator?.generator.dispose();
    warm.generator = { kind, generator: warm.model.generator(adapter?.of ?? (() => noAdapter)) };
  }
  return warm.generator.generator;
}
