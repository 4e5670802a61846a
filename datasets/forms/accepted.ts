import { DEFAULTS } from '../../core/defaults.ts';
import { quote } from '../problems.ts';
import type { Fields } from './fields.ts';
import { fromJsonText, isObject, readText, refuse } from './values.ts';

/** Accepted answers of a row. */
export interface Accepted {
  readonly texts: readonly string[];
}

/**
 * Accepted answers: a list of texts or numbers, of objects with an `answer` as VQA has them, or SQuAD's `{text: […], answer_start: […]}`.
 * A list may stand as JSON text; another text is the only answer.
 */
export function acceptedIn(value: unknown, what: string, row: Fields): Accepted {
  const plain = fromJsonText(value, what);
  if (plain === null || plain === '') return { texts: [] };
  if (isObject(plain)) {
    const fields = row.inside(plain, what.replaceAll('"', ''));
    fields.take('answer_start');
    const texts = fields.take('text');
    if (!Array.isArray(texts)) refuse(`${what} must be a list of answers or {"text": […]}, not ${quote(plain)}`);
    return acceptedIn(texts, what, row);
  }
  const items: unknown[] = Array.isArray(plain) ? plain : [plain];
  const most = DEFAULTS['dataset.maxReferences'].value;
  if (items.length > most) refuse(`${what} has ${items.length} answers, over the limit of ${most}`);
  return {
    texts: items.map((item, i) => {
      return readText(
        isObject(item) ? ownText(row.inside(item, `${what.replaceAll('"', '')}[]`)) : item,
        `answer ${i + 1}`,
        true,
      );
    }),
  };
}

const ownText = (item: Fields) => item.take(['answer', 'caption', 'text'].find((key) => item.has(key)) ?? 'answer');

/** The answer that most people gave; of several, the first. Null where there is none. */
export function mostCommon(answers: readonly string[]): string | null {
  const counts = new Map<string, number>();
  for (const answer of answers) counts.set(answer, (counts.get(answer) ?? 0) + 1);
  return [...counts].reduce<[string | null, number]>((best, each) => (each[1] > best[1] ? each : best), [null, 0])[0];
}
