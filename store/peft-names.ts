import type { PeftSettings } from './peft-config.ts';

/** A linear layer of a model, by the name that transformers 5 has in memory. */
export interface ModelLayer {
  readonly name: string;
  /** Input features. */
  readonly in: number;
  /** Output features. */
  readonly out: number;
}

/** What compiling, sharding and checkpointing put between the parts of a path. */
const WRAPPERS = new Set([
  '_orig_mod',
  '_fsdp_wrapped_module',
  '_checkpoint_wrapped_module',
  '_forward_module',
  'module',
]);

/** Parts before a layer that name whose it is: of the language model, or of nothing, since a model has one. */
const LANGUAGE = new Set(['base_model', 'model', 'language_model', 'text_model']);
const VISION = new Set(['vision_tower', 'vision_model', 'visual']);

/** The projector in LLaVA's own code. */
const RENAMED: Readonly<Record<string, string>> = {
  'mm_projector.0': 'multi_modal_projector.linear_1',
  'mm_projector.2': 'multi_modal_projector.linear_2',
};

/** A path without what wrapped its modules. */
export const unwrapped = (path: string): string =>
  path
    .split('.')
    .filter((part) => !WRAPPERS.has(part))
    .join('.');

/**
 * Where a layer is, whichever of its known names a path is: those of transformers before 4.52 and since, of a language model
 * saved alone, of LLaVA's own code. Layers of one model are all in different places.
 */
function placeOf(path: string): string {
  const parts = unwrapped(path).split('.');
  const start = parts.findIndex((part) => !LANGUAGE.has(part) && !VISION.has(part));
  const rest = parts.slice(start < 0 ? parts.length : start).join('.');
  const seen = parts.slice(0, Math.max(start, 0)).some((part) => VISION.has(part));
  if (seen) return `vision ${rest}`;
  return Object.hasOwn(RENAMED, rest) ? RENAMED[rest]! : rest;
}

/** Finds the layer of a model that a path of an adapter is. */
export function layerFinder<Layer extends ModelLayer>(layers: readonly Layer[]): (path: string) => Layer | undefined {
  const places = new Map(layers.map((layer) => [placeOf(layer.name), layer]));
  return (path) => places.get(placeOf(path));
}

/** A tensor of a LoRA. */
export interface LoraName {
  /** Module path before today's names, without PEFT's own prefix. */
  readonly path: string;
  readonly half: 'A' | 'B';
  /** The name under which PEFT had it in memory, which saved files leave out. */
  readonly adapter: string | undefined;
}

/** Takes the name of a tensor apart; null for one that is not half of a pair. */
export function loraName(key: string): LoraName | null {
  const [, path, half, adapter] = /^(.+)\.lora_([AB])(?:\.([^.]+))?\.weight$/.exec(unwrapped(key)) ?? [];
  if (!path) return null;
  return { path: path.replace(/^base_model\.model\./, ''), half: half as 'A' | 'B', adapter };
}

/**
 * Whether PEFT puts an adapter on a layer of these names when it loads one (`check_target_module_exists`): tensors of other
 * layers it leaves out. Null where that cannot be told: nothing is chosen by name, or by an expression.
 */
export function isTargeted(names: readonly string[], settings: PeftSettings): boolean | null {
  const { targetModules: targets, excludeModules: excluded, layersToTransform: indices } = settings;
  const endsIn = (endings: readonly string[]) =>
    names.some((name) => endings.some((ending) => name === ending || name.endsWith(`.${ending}`)));
  if (Array.isArray(excluded) && endsIn(excluded)) return false;
  const chosen = typeof excluded === 'string' ? null : true;
  if (targets === 'all-linear') return names.every((name) => !/(^|\.)lm_head$/.test(name)) && chosen;
  if (targets === null || typeof targets === 'string') return null;
  if (!endsIn(targets)) return false;
  const [, index] = /^.*\.[^.]*\.(\d+)\./.exec(names.at(-1)!) ?? [];
  return (indices === null || (index !== undefined && indices.includes(Number(index)))) && chosen;
}

/** What to tell of an adapter that changes nothing: every B is zero, as training begins; null for any other. */
export function untrained(has: ReadonlyMap<string, { readonly B: { readonly data: Float32Array } }>): string | null {
  if (![...has.values()].every(({ B }) => B.data.every((value) => value === 0))) return null;
  return 'The adapter changes nothing: every lora_B is zero, as before training. Its trainer may have saved it too early, or under other names than it trained.';
}

/**
 * What to tell of layers that an adapter should have by its `target_modules` and has not; null where there are none. Only
 * parts of the model of which it has any layer count: names such as `q_proj` stand in towers as well.
 */
export function missingLayers(
  has: ReadonlyMap<string, unknown>,
  layers: readonly ModelLayer[],
  settings: PeftSettings,
): string | null {
  const partOf = (name: string) => name.replace(/\.(layers|blocks)\.\d+\..*$|\.[^.]+$/, '');
  const parts = new Set([...has.keys()].map(partOf));
  const missing = layers.filter(
    ({ name }) => !has.has(name) && parts.has(partOf(name)) && isTargeted([name], settings) === true,
  );
  if (missing.length === 0) return null;
  const more = missing.length > 1 ? ` and ${missing.length - 1} more` : '';
  return `The adapter holds nothing for ${missing[0]!.name}${more}, which its target_modules choose: they stay as in the base model, as in PEFT. Its file may be incomplete.`;
}
