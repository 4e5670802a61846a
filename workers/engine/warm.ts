import type { Processor } from '../../datasets/processor/processor.ts';
import type { BoundAdapter } from '../../learning/methods/adapter.ts';
import { type BaseModel, type Generator, noAdapter } from '../../learning/model/model.ts';
import type { Features } from './features.ts';

/** A base model in memory, and what goes with it. */
export interface Warm {
  readonly digest: string;
  readonly model: BaseModel;
  readonly processor: Processor;
  readonly features: Features;
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
