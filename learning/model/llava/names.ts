import type { TensorMap } from '../../../core/host-tensor.ts';

/**
 * The canonical name of a tensor in a LLaVA file. Known layouts: hub checkpoints and transformers 4
 * (`language_model.model.…`, `language_model.lm_head.…`, `vision_tower.vision_model.…`), the same without
 * `vision_model` (as transformers 5 saves), and the names in memory.
 */
export function canonicalName(name: string): string {
  if (name.startsWith('language_model.lm_head.')) return name.slice('language_model.'.length);
  const full = /^(vision_tower|multi_modal_projector|language_model)\./.test(name) ? `model.${name}` : name;
  return full
    .replace(/^model\.language_model\.model\./, 'model.language_model.')
    .replace(/^model\.vision_tower\.vision_model\./, 'model.vision_tower.');
}

/** The name in hub checkpoints of a canonical name: what every version of transformers reads. */
export function hubName(name: string): string {
  if (name.startsWith('lm_head.')) return `language_model.${name}`;
  return name
    .replace(/^model\.language_model\./, 'language_model.model.')
    .replace(/^model\.vision_tower\./, 'vision_tower.vision_model.')
    .replace(/^model\.multi_modal_projector\./, 'multi_modal_projector.');
}

/** All weights under their names in hub checkpoints, ready for `writeSafetensors` to `model.safetensors`. */
export function toHubNames(tensors: TensorMap): TensorMap {
  return new Map([...tensors].map(([name, tensor]) => [hubName(name), tensor]));
}
