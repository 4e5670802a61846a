import { LiloraError } from '../../../core/errors.ts';
import { SplitPreTokenizer } from './library.ts';

/** One step of `tokenizer.json`: a normalizer, pre-tokenizer, post-processor or decoder. */
export interface Step {
  readonly type?: unknown;
  readonly [field: string]: unknown;
}

/** White space as Rust and Oniguruma have it: with U+0085, without U+FEFF, which JavaScript's `\s` has the other way. */
export const SPACE = '\\p{White_Space}';

/** A step that is not computed here. */
export function unknownStep(what: string, step: Step): LiloraError {
  const problem = `no support for the ${what} ${JSON.stringify(step.type ?? null)}`;
  return new LiloraError('BadModel', `tokenizer.json: ${problem}. Use a model whose tokenizer has none.`);
}

/** A field of a step that must be a text. */
export function textOf(step: Step, field: string, fallback?: string): string {
  const value = step[field] ?? fallback;
  if (typeof value === 'string') return value;
  throw new LiloraError('BadModel', `tokenizer.json: ${field} of ${String(step.type)} is no text. Correct the file.`);
}

/** Steps within a step. */
export function stepsOf(step: Step, field: string): Step[] {
  const value = step[field];
  if (Array.isArray(value)) return value as Step[];
  throw new LiloraError('BadModel', `tokenizer.json: ${field} of ${String(step.type)} is no list. Correct the file.`);
}

/** `{"String": …}` or `{"Regex": …}`, the second in Oniguruma's language, which the library translates. */
export function patternOf(step: Step): RegExp {
  const pattern = (step['pattern'] ?? {}) as { String?: string; Regex?: string };
  try {
    if (typeof pattern.String === 'string') return literally(pattern.String);
    if (typeof pattern.Regex === 'string') {
      const { pattern: translated } = new SplitPreTokenizer({
        type: 'Split',
        pattern: { Regex: pattern.Regex },
        behavior: 'Isolated',
        invert: false,
      });
      if (translated) return folded(pattern.Regex, translated);
    }
  } catch (error) {
    const problem = `the pattern of ${String(step.type)} cannot be read: ${(error as Error).message}`;
    throw new LiloraError('BadModel', `tokenizer.json: ${problem}. Use another base model.`, { cause: error });
  }
  throw new LiloraError('BadModel', `tokenizer.json: ${String(step.type)} has no pattern. Correct the file.`);
}

/** A pattern that matches a text as it is. */
export const literally = (text: string) => new RegExp(text.replaceAll(/[.*+?^${}()|[\]\\/]/g, '\\$&'), 'gu');

/** In `(?i:…)`, long s and the Kelvin sign are an s and a K for Oniguruma; the library folds ASCII alone. */
function folded(source: string, translated: RegExp): RegExp {
  if (!source.includes('(?i:') || /\[sS\]|\[kK\]/.test(source)) return translated;
  const wider = translated.source.replaceAll('[sS]', '[sS\u017f]').replaceAll('[kK]', '[kK\u212a]');
  return new RegExp(wider, translated.flags);
}
