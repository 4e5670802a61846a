import { modelMemory } from './memory.ts';
import type { AdaptedLayer } from './model.ts';
import type { ModelDefinition } from './registry.ts';

/** Tables that a place or a token chooses a row of. */
const TABLES = /\.(embed_tokens|position_embedding)$/;

/** The linear layers of a model, by what may be done with them. */
export interface LinearLayers {
  /** Of projector and decoder: what methods adapt. */
  readonly layers: readonly AdaptedLayer[];
  /** Of the tower, and the head: never trained here. */
  readonly frozen: readonly AdaptedLayer[];
}

/** Every linear layer that a configuration means, without its weights. */
export function linearLayers(definition: ModelDefinition): LinearLayers {
  const { layers } = modelMemory(definition);
  const known = new Set(layers.map(({ name }) => name));
  const { width, vocabulary } = definition.config.decoder;
  const frozen = [...definition.shapes].flatMap(([weight, shape]) => {
    const name = weight.replace(/\.weight$/, '');
    if (name === weight || shape.length !== 2 || known.has(name) || TABLES.test(name) || name === 'lm_head') return [];
    return [{ name, in: shape[1]!, out: shape[0]! }];
  });
  // With tied weights no file names it.
  return { layers, frozen: [...frozen, { name: 'lm_head', in: width, out: vocabulary }] };
}
