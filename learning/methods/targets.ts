import { LiloraError } from '../../core/errors.ts';
import type { AdaptedLayer } from '../model/model.ts';

const MLP = ['gate_proj', 'up_proj', 'down_proj'];

/** The projectors of the families: LLaVA, SmolVLM, Qwen2-VL. */
const PROJECTORS = [
  'multi_modal_projector.linear_1',
  'multi_modal_projector.linear_2',
  'connector.modality_projection.proj',
  'visual.merger.mlp.0',
  'visual.merger.mlp.2',
];

/** Choices of layers by name: endings of module paths. */
const PRESETS: Readonly<Record<string, readonly string[]>> = {
  /** As in the paper: the decoder's MLP and the projector. */
  paper: [...MLP, ...PROJECTORS],
  /** Loads in servers that adapt the language model only. */
  'language-only': MLP,
  'attention+mlp': ['q_proj', 'k_proj', 'v_proj', 'o_proj', ...MLP],
};

const presetNamed = (name: string) => (Object.hasOwn(PRESETS, name) ? PRESETS[name] : undefined);

/**
 * The layers to adapt, in the model's order. A name matches a module path that equals it or ends in `.name`, as PEFT's
 * `target_modules` do. `BadConfig` when a name, or a whole preset, matches nothing.
 * @param targets a preset (`paper`, `language-only`, `attention+mlp`), or names
 */
export function selectLayers(layers: readonly AdaptedLayer[], targets: string | readonly string[]): AdaptedLayer[] {
  const preset = typeof targets === 'string' ? presetNamed(targets) : undefined;
  const names = preset ?? (typeof targets === 'string' ? [targets] : targets);
  const matches = (ending: string, layer: AdaptedLayer) => layer.name === ending || layer.name.endsWith(`.${ending}`);
  const chosen = layers.filter((layer) => names.some((ending) => matches(ending, layer)));
  const lost = preset ? [] : names.filter((ending) => !layers.some((layer) => matches(ending, layer)));
  if (chosen.length > 0 && lost.length === 0) return chosen;
  const which = lost.length > 0 ? lost.map((ending) => JSON.stringify(ending)).join(', ') : JSON.stringify(targets);
  const endings = [...new Set(layers.map(({ name }) => name.slice(name.lastIndexOf('.') + 1)))].join(', ');
  throw new LiloraError(
    'BadConfig',
    `No layer of the model matches the target ${which}. Choose a preset (${Object.keys(PRESETS).join(', ')}) or endings of its module paths: ${endings}.`,
  );
}
