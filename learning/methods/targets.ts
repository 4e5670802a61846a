import { LiloraError } from '../../core/errors.ts';
import type { AdaptedLayer } from '../model/model.ts';

/** Choices of layers by name: endings of module paths. */
const PRESETS: Readonly<Record<string, readonly string[]>> = {
  /** As in the paper: the decoder's MLP and the projector. */
  paper: ['gate_proj', 'up_proj', 'down_proj', 'multi_modal_projector.linear_1', 'multi_modal_projector.linear_2'],
  /** Loads in servers that adapt the language model only. */
  'language-only': ['gate_proj', 'up_proj', 'down_proj'],
  'attention+mlp': ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'],
};

/**
 * The layers to adapt. A name matches a module path that equals it or ends in `.name`, as PEFT's `target_modules` do.
 * @param targets a preset (`paper`, `language-only`, `attention+mlp`), or names
 */
export function selectLayers(layers: readonly AdaptedLayer[], targets: string | readonly string[]): AdaptedLayer[] {
  const names = typeof targets === 'string' ? (PRESETS[targets] ?? [targets]) : targets;
  const chosen = layers.filter(({ name }) => names.some((ending) => name === ending || name.endsWith(`.${ending}`)));
  if (chosen.length > 0) return chosen;
  throw new LiloraError(
    'BadConfig',
    `No layer of the model matches ${JSON.stringify(targets)}. Presets: ${Object.keys(PRESETS).join(', ')}; layers are named like ${layers[0]?.name}.`,
  );
}
