import { LiloraError } from '../core/errors.ts';
import { parseJson } from '../core/json.ts';
import { patternMatcher } from '../core/module-patterns.ts';

/** What of an `adapter_config.json` decides numbers. Layers have several names: as the file has them, and as the model has. */
export interface PeftSettings {
  readonly rank: number;
  readonly alpha: number;
  readonly useRslora: boolean;
  /** r of a layer by its names; two names that find different values are `BadModel`. */
  rankOf(names: readonly string[]): number;
  alphaOf(names: readonly string[]): number;
  readonly targetModules: string | readonly string[] | null;
  readonly excludeModules: string | readonly string[] | null;
  readonly layersToTransform: readonly number[] | null;
  /** Adapters of tied layers are one adapter. */
  readonly tied: boolean;
  readonly baseModel: string | null;
  readonly revision: string | null;
}

type Fields = Readonly<Record<string, unknown>>;

/** PEFT's own defaults, for files that leave them out. */
const DEFAULT_RANK = 8;
const DEFAULT_ALPHA = 8;

/**
 * Fields that leave the numbers of a saved adapter as they are, whatever they say: what training did, where it ran, and
 * settings that count only beside another field, which is looked at. The last lines are of ms-swift and of PEFT before 0.3.
 */
const HARMLESS = new Set([
  ...['auto_mapping', 'task_type', 'inference_mode', 'peft_version', 'lora_dropout', 'runtime_config'],
  // PEFT turns it off, with a warning, for the layers of these models.
  'fan_in_fan_out',
  ...['megatron_core', 'qalora_group_size', 'layers_pattern'],
  // Of init_lora_weights, and without it ignored.
  ...['loftq_config', 'eva_config', 'corda_config', 'lora_ga_config'],
  // Changes the way back alone.
  'velora_config',
  ...['lora_dtype', 'lorap_lr_ratio', 'lorap_emb_lr', 'swift_type'],
  'merge_weights',
]);

/** Fields that are read here. */
const READ = new Set([
  ...['peft_type', 'r', 'lora_alpha', 'use_rslora', 'rank_pattern', 'alpha_pattern', 'init_lora_weights', 'bias'],
  ...['target_modules', 'exclude_modules', 'layers_to_transform', 'ensure_weight_tying'],
  ...['base_model_name_or_path', 'revision'],
]);

/** What helps wherever PEFT can put an adapter into the weights. */
export const MERGE =
  'Merge it with PEFT: PeftModel.from_pretrained(model, FOLDER).merge_and_unload().save_pretrained(OUT), and use OUT as the model (whole script: docs/models.md, Adapters of others)';

const RETRAIN = 'Train a plain LoRA';

/** Fields of what is not computed, where they hold anything: why, and what to do. */
const NOT_COMPUTED: Readonly<Record<string, readonly [why: string, remedy: string]>> = {
  use_dora: ['DoRA scales every row of the weights anew', MERGE],
  // Most layers of these models have no bias that it could be merged into.
  lora_bias: ['adapters with biases are not computed', RETRAIN],
  modules_to_save: ['whole modules were trained beside the LoRA', MERGE],
  trainable_token_indices: ['embeddings of single tokens were trained', MERGE],
  target_parameters: ['parameters outside of linear layers were adapted', MERGE],
  layer_replication: ['the model was made deeper by repeating layers', MERGE],
  use_qalora: ['QA-LoRA averages the input of a layer', RETRAIN],
  use_bdlora: ['the matrices of BD-LoRA are blocks', MERGE],
  kasa_config: ['KaSA takes a part out of the base weights', MERGE],
  alora_invocation_tokens: ['activated LoRA counts only after certain tokens, and cannot be merged', RETRAIN],
  arrow_config: ['Arrow chooses among several adapters at every token', RETRAIN],
  monteclora_config: ['MonteCLoRA samples its weights', RETRAIN],
  megatron_config: ['layers of Megatron are split over devices', 'Save it with PEFT on the plain model'],
  enable_lora: ['parts of fused layers were adapted', MERGE],
};

/** Starts of training that leave a saved adapter an ordinary LoRA on the whole base weights. */
const PLAIN_STARTS = ['gaussian', 'eva', 'orthogonal', 'mica'];

/** Starts that take a part out of the base weights, which a saved adapter is not without. */
const CUTTING_STARTS: ReadonlyArray<readonly [name: RegExp, method: string, again: boolean]> = [
  // PEFT cuts anew when it loads: the same where that is exact, something else where it is drawn or needs data.
  [/^pissa$/, 'PiSSA', true],
  [/^olora$/, 'OLoRA', true],
  [/^pissa_niter/, 'fast PiSSA', false],
  [/^corda$/, 'CorDA', false],
  [/^lora_ga$/, 'LoRA-GA', false],
];

/** Types of PEFT that change no weights, so that none can be merged. */
const NOT_IN_WEIGHTS = /PROMPT|P_TUNING|PREFIX|CPT|XLORA|POLY|CARTRIDGE/;

/** Whether a field says nothing: programs write their defaults in many ways. */
function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === false || value === '') return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
}

/**
 * Reads `adapter_config.json` by what each field may be: a value that changes numbers and is not computed is `BadModel`
 * that names it and what helps, and so is a field that nobody knows, unless it is empty.
 * @param file named in messages
 */
export function readPeftConfig(bytes: Uint8Array, file: string): PeftSettings {
  const refuse = (why: string) => new LiloraError('BadModel', `${file}: ${why}.`);
  const fields = parseJson(bytes, file, { errorName: 'BadModel', nonFinite: true }) as Fields;
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) throw refuse('not an object');
  mustBeLora(fields, refuse);
  for (const [name, value] of Object.entries(fields)) {
    if (READ.has(name) || HARMLESS.has(name) || isEmpty(value)) continue;
    const [why, remedy] = Object.hasOwn(NOT_COMPUTED, name) ? NOT_COMPUTED[name]! : [];
    if (why) throw refuse(`${name} is not supported (${shown(value)}): ${why}. ${remedy}`);
    throw refuse(
      `the field ${name} (${shown(value)}) is not known, so what it changes is not computed. ${RETRAIN} without it, or remove it where it changes no numbers`,
    );
  }
  mustStartPlain(fields['init_lora_weights'], refuse);
  if ((fields['bias'] ?? 'none') !== 'none')
    throw refuse(`bias is ${shown(fields['bias'])}: adapters with a bias are not read. ${MERGE}`);
  const { r: rank = DEFAULT_RANK, lora_alpha: alpha = DEFAULT_ALPHA } = fields;
  if (typeof rank !== 'number' || !Number.isInteger(rank) || rank < 1)
    throw refuse(`r is no rank: ${shown(rank)}. It must be a whole number above 0`);
  if (typeof alpha !== 'number' || !Number.isFinite(alpha)) throw refuse(`lora_alpha is no number: ${shown(alpha)}`);
  const useRslora = fields['use_rslora'] ?? false;
  if (typeof useRslora !== 'boolean') throw refuse(`use_rslora is ${shown(useRslora)}, neither true nor false`);
  const [rankOf, alphaOf] = ['rank_pattern', 'alpha_pattern'].map((name) => patternIn(fields[name] ?? {}, file, name));
  const text = (name: string) => (typeof fields[name] === 'string' && fields[name] !== '' ? fields[name] : null);
  return {
    ...{ rank, alpha, useRslora },
    rankOf: (names) => rankOf!(names) ?? rank,
    alphaOf: (names) => alphaOf!(names) ?? alpha,
    targetModules: namesIn(fields['target_modules']),
    excludeModules: namesIn(fields['exclude_modules']),
    layersToTransform: numbersIn(fields['layers_to_transform']),
    tied: !isEmpty(fields['ensure_weight_tying']),
    baseModel: text('base_model_name_or_path'),
    revision: text('revision'),
  };
}

function mustBeLora(fields: Fields, refuse: (why: string) => LiloraError): void {
  const type = fields['peft_type'];
  if (type === 'LORA') return;
  if (type === undefined && ('model_type' in fields || 'architectures' in fields))
    throw refuse('this is the configuration of a whole model, not of an adapter. Use its folder as the model');
  if (type === undefined)
    throw refuse(`it names no peft_type, so it is no adapter of PEFT. Its fields: ${listed(Object.keys(fields))}`);
  throw refuse(
    `peft_type is ${shown(type)}; only LORA is read. ${NOT_IN_WEIGHTS.test(String(type)) ? RETRAIN : MERGE}`,
  );
}

/** @param start `init_lora_weights`; PEFT takes some of the names in any case */
function mustStartPlain(start: unknown, refuse: (why: string) => LiloraError): void {
  if (isEmpty(start) || start === true) return;
  const name = typeof start === 'string' ? start.toLowerCase() : '';
  if (PLAIN_STARTS.includes(name)) return;
  const said = `init_lora_weights is ${shown(start)}`;
  if (name === 'loftq')
    throw refuse(
      `${said}: LoftQ belongs to base weights that it rounded. Use the base model that was saved with them, and set init_lora_weights to true`,
    );
  const [, method, again] = CUTTING_STARTS.find(([cutting]) => cutting.test(name)) ?? [];
  if (!method) throw refuse(`${said}, which is no start of training that is known`);
  const helps = again
    ? `Where START was not saved before training: ${MERGE}`
    : 'START must have been saved before training; without it PEFT itself does not find those weights again';
  throw refuse(
    `${said}: ${method} takes a part out of the base weights, and the adapter is not right on whole ones. Save it with save_pretrained(OUT, path_initial_model_for_weight_conversion=START), which makes a plain LoRA. ${helps}`,
  );
}

/** Values by pattern, as PEFT looks them up: the first that matches counts. */
function patternIn(value: unknown, file: string, name: string): (names: readonly string[]) => number | undefined {
  const where = `${file}: ${name}`;
  const entries = Object.entries(value as object) as Array<[string, unknown]>;
  if (typeof value !== 'object' || Array.isArray(value) || entries.some(([, n]) => typeof n !== 'number' || !(n > 0)))
    throw new LiloraError('BadModel', `${where} is no object of positive numbers. Mend it.`);
  const matching = patternMatcher(Object.keys(value as object), where, 'BadModel');
  const values = new Map(entries as Array<[string, number]>);
  return (names) => {
    const found = [...new Set(names)].flatMap((each) => values.get(matching(each)[0] ?? '') ?? []);
    if (new Set(found).size <= 1) return found[0];
    throw new LiloraError(
      'BadModel',
      `${where} says ${found.join(' and ')} of one layer, ${names.join(', today ')}. Name it as the model does.`,
    );
  };
}

function namesIn(value: unknown): string | readonly string[] | null {
  if (typeof value === 'string') return value;
  return Array.isArray(value) && value.every((each) => typeof each === 'string') && value.length > 0 ? value : null;
}

function numbersIn(value: unknown): readonly number[] | null {
  const all = typeof value === 'number' ? [value] : value;
  return Array.isArray(all) && all.length > 0 && all.every((each) => typeof each === 'number') ? all : null;
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

const listed = (names: readonly string[]) => `${names.slice(0, 8).join(', ')}${names.length > 8 ? ', …' : ''}`;
