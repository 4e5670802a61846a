import { z } from 'zod';
import { LiloraError } from '../../core/errors.ts';

/* What `generation_config.json` asks of greedy answers, as transformers 5 applies it, in its order. */

const token = z.int().min(0).max(10_000_000);
const words = z.array(token).min(1);
const some = z.union([token.transform((one) => [one]), z.array(token)]);
const count = z.int().min(0);

/** The settings that change greedy answers and are applied. Null and the value of the comment change nothing. */
const applied = z.object({
  /** Added to the score of the last token of a sequence where the others have just been said. */
  sequence_bias: z.array(z.tuple([words, z.number()])).nullish(),
  /** What was said or asked becomes less probable (1). */
  repetition_penalty: z.number().positive().nullish(),
  /** No sequence of so many tokens stands twice, the prompt included (0). */
  no_repeat_ngram_size: count.nullish(),
  bad_words_ids: z.array(words).nullish(),
  /** No end before so many tokens, the prompt included (0). */
  min_length: count.nullish(),
  min_new_tokens: count.nullish(),
  /** What follows a prompt of one token. */
  forced_bos_token_id: token.nullish(),
  /** What the last token that there is room for must be. */
  forced_eos_token_id: some.nullish(),
  /** After so many new tokens the end becomes more probable, by powers of a factor. */
  exponential_decay_length_penalty: z.tuple([count, z.number()]).nullish(),
  suppress_tokens: z.array(token).nullish(),
  /** Not as the first new token. */
  begin_suppress_tokens: z.array(token).nullish(),
});

export type Generation = z.infer<typeof applied>;

/** Settings with the value at which they change nothing; with another one, answers are not those of greedy decoding. */
const NOT_COMPUTED: Readonly<Record<string, (value: unknown, all: Readonly<Record<string, unknown>>) => boolean>> = {
  num_beams: (value) => value === 1,
  num_beam_groups: (value) => value === 1,
  constraints: () => false,
  force_words_ids: () => false,
  guidance_scale: (value) => value === 1,
  // Contrastive search, where there is a choice.
  penalty_alpha: (value, all) => value === 0 || all['top_k'] === 1 || all['top_k'] === 0,
  dola_layers: () => false,
  watermarking_config: () => false,
  stop_strings: (value) => Array.isArray(value) && value.length === 0,
  token_healing: (value) => value === false,
};

/** Settings that change no greedy answer: of sampling, of beams, of what is returned, of how it is computed. */
const WITHOUT_EFFECT = [
  ...['do_sample', 'temperature', 'top_k', 'top_p', 'top_h', 'min_p', 'typical_p', 'epsilon_cutoff', 'eta_cutoff'],
  ...['early_stopping', 'length_penalty', 'diversity_penalty', 'low_memory', 'num_return_sequences'],
  ...['renormalize_logits', 'remove_invalid_values', 'encoder_repetition_penalty', 'encoder_no_repeat_ngram_size'],
  // How long an answer may be is always said, by the command or the stream.
  ...['max_length', 'max_new_tokens', 'max_time', 'bos_token_id', 'eos_token_id', 'pad_token_id'],
  ...['decoder_start_token_id', 'output_attentions', 'output_hidden_states', 'output_logits', 'output_scores'],
  ...['return_dict_in_generate', 'use_cache', 'cache_implementation', 'cache_config', 'max_cache_len'],
  ...['compile_config', 'disable_compile', 'continuous_batching_config', 'prefill_chunk_size', 'use_mtp'],
  ...['prompt_lookup_num_tokens', 'max_matching_ngram_size', 'speculation_type', 'is_assistant', 'target_lookbehind'],
  ...['num_assistant_tokens', 'num_assistant_tokens_schedule', 'assistant_confidence_threshold'],
  ...['assistant_early_exit', 'assistant_ensemble_weight', 'assistant_lookbehind'],
  ...['transformers_version', '_from_model_config'],
];

/** Every setting that is known, by what becomes of it. */
export const GENERATION_SETTINGS = {
  applied: Object.keys(applied.shape),
  refused: Object.keys(NOT_COMPUTED),
  withoutEffect: WITHOUT_EFFECT,
};

/**
 * What is applied to greedy answers; null where nothing is. `BadModel` names a setting that asks for another search, or
 * that has a value of the wrong kind.
 * @param sources the file that counts, and where there is none, the parts of `config.json` in their order
 * @param file for messages
 */
export function readGeneration(sources: readonly unknown[], file: string): Generation | null {
  const all: Record<string, unknown> = {};
  for (const source of sources)
    for (const [key, value] of Object.entries((source ?? {}) as Record<string, unknown>))
      if (isNothing(all[key], key)) all[key] = value;
  for (const [key, harmless] of Object.entries(NOT_COMPUTED)) {
    const value = all[key];
    if (value === undefined || value === null || harmless(value, all)) continue;
    const problem = `${key} is ${JSON.stringify(value)}: answers are searched greedily, and this asks for more`;
    throw new LiloraError('BadModel', `${file}: ${problem}. Remove ${key} from the file.`);
  }
  const asked = Object.fromEntries(Object.entries(all).filter(([key, value]) => !isNothing(value, key)));
  const result = applied.safeParse(asked);
  if (!result.success) {
    const { path, message } = result.error.issues[0]!;
    throw new LiloraError('BadModel', `${file}: ${path.join('.')}: ${message}. Correct the file.`);
  }
  return Object.keys(result.data).length > 0 ? result.data : null;
}

/** Values of settings that are applied at which they change nothing. */
const NEUTRAL: Readonly<Record<string, number>> = {
  ...{ repetition_penalty: 1, no_repeat_ngram_size: 0, min_length: 0, min_new_tokens: 0 },
};

const isNothing = (value: unknown, key: string) =>
  value === undefined || value === null || value === NEUTRAL[key] || (Array.isArray(value) && value.length === 0);

/** Where an answer stands when its next token is chosen. */
export interface SoFar {
  /** Tokens of the prompt, image tokens included, padding not. */
  readonly prompt: readonly number[];
  readonly answer: readonly number[];
  readonly maxNewTokens: number;
  readonly endTokens: readonly number[];
}

/**
 * Scores of the next token, [vocabulary], changed in place as the settings ask.
 * Reference: the logits processors of transformers 5 (generation/logits_process.py).
 */
export function adjust(scores: Float32Array, settings: Generation, at: SoFar): void {
  const { prompt, answer, maxNewTokens, endTokens } = at;
  const said = [...prompt, ...answer];
  const ban = (tokens: readonly number[]) => {
    for (const id of tokens) if (id < scores.length) scores[id] = Number.NEGATIVE_INFINITY;
  };
  const only = (tokens: readonly number[]) => {
    scores.fill(Number.NEGATIVE_INFINITY);
    for (const id of tokens) scores[id] = 0;
  };
  addBiases(scores, settings.sequence_bias ?? [], said);
  const penalty = settings.repetition_penalty;
  if (penalty)
    for (const id of new Set(said)) scores[id] = scores[id]! < 0 ? scores[id]! * penalty : scores[id]! / penalty;
  if (settings.no_repeat_ngram_size) ban(endsOfRepeats(said, settings.no_repeat_ngram_size));
  const bad = (settings.bad_words_ids ?? []).filter((word) => word.length > 1 || !endTokens.includes(word[0]!));
  const forbidden = bad.map((word) => [word, Number.NEGATIVE_INFINITY] as [number[], number]);
  addBiases(scores, forbidden, said);
  // Where both are given, the number of new tokens counts.
  const least = settings.min_new_tokens ? prompt.length + settings.min_new_tokens : (settings.min_length ?? 0);
  if (said.length < least) ban(endTokens);
  if (settings.forced_bos_token_id != null && said.length === 1) only([settings.forced_bos_token_id]);
  if (settings.forced_eos_token_id && answer.length === maxNewTokens - 1) only(settings.forced_eos_token_id);
  const [start, factor] = settings.exponential_decay_length_penalty ?? [Number.POSITIVE_INFINITY, 1];
  if (answer.length > start)
    for (const id of endTokens)
      if (Number.isFinite(scores[id])) scores[id]! += Math.abs(scores[id]!) * (factor ** (answer.length - start) - 1);
  ban(settings.suppress_tokens ?? []);
  if (answer.length === 0) ban(settings.begin_suppress_tokens ?? []);
}

/** Adds to the score of the last token of every sequence whose other tokens have just been said. */
function addBiases(scores: Float32Array, biases: ReadonlyArray<[number[], number]>, said: readonly number[]): void {
  for (const [sequence, bias] of biases) {
    const before = sequence.slice(0, -1);
    const last = sequence.at(-1)!;
    if (last < scores.length && before.every((id, i) => said.at(i - before.length) === id)) scores[last]! += bias;
  }
}

/** Tokens that would end a sequence of so many tokens that stands there already. */
function endsOfRepeats(said: readonly number[], size: number): number[] {
  if (said.length + 1 < size) return [];
  const start = said.slice(said.length + 1 - size);
  return said.filter((_, at) => {
    const first = at + 1 - size;
    return first >= 0 && start.every((id, i) => said[first + i] === id);
  });
}
