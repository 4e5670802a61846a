import { LiloraError } from '../../core/errors.ts';
import type { Manifest } from '../manifest.ts';
import { quote } from '../problems.ts';
import type { ReadSample } from '../readers/reader.ts';
import { llava, messages, sharegpt } from './conversation.ts';
import { Fields } from './fields.ts';
import type { At, Form } from './form.ts';
import { promptCompletion } from './prompt-completion.ts';
import { lackOf, rows } from './rows.ts';
import { texts } from './texts.ts';
import { judgeUnread, PREFERENCE, refuseMedia } from './unread.ts';
import { isObject, SharedProblem } from './values.ts';

/** Every form of a sample, by the name that `format` in dataset.json gives; the first that fits a sample reads it. */
export const FORMS: readonly Form[] = [messages, sharegpt, llava, texts, promptCompletion, rows];

/**
 * Reads one sample, in the form that fits its keys; whatever of it is not read is told to `at.keys`, or refused.
 * Throws `SampleProblem` for one that breaks a rule.
 * @param name of the form, where the manifest's `format` says it
 */
export function readSample(value: Record<string, unknown>, at: At, manifest: Manifest, name?: string): ReadSample {
  const sample = new Fields(value, manifest, at.isTable);
  refuseMedia(sample);
  const form = name === undefined ? FORMS.find((each) => each.fits(sample)) : formNamed(name);
  if (!form) throw new SharedProblem(unfit(sample));
  const read: ReadSample = { ...form.read(sample, at), where: at.where };
  judgeUnread(sample, read, form === rows, at);
  return read;
}

function formNamed(name: string): Form {
  const form = FORMS.find((each) => each.name === name);
  if (form) return form;
  throw new LiloraError(
    'BadDataset',
    `There is no form ${quote(name)}. Use ${FORMS.map((each) => each.name).join(', ')}.`,
  );
}

/** What keys were found, what was tried, what the nearest form lacks. */
function unfit(sample: Fields): string {
  const { keys } = sample;
  const found =
    keys.length > 0
      ? `the keys ${keys
          .map((key) => quote(key, 40))
          .slice(0, 20)
          .join(', ')}`
      : 'no key that holds anything';
  const tried = FORMS.filter(({ name }) => name !== 'sharegpt' && name !== 'rows').map(
    ({ name, needs }) => `${name} needs ${needs}`,
  );
  if (keys.some((key) => PREFERENCE.has(key)))
    return `${found}: of preference data nothing is learned; name the better answer in "columns" ({"answer": …}, or {"messages": …} for a conversation) and the others in "ignore"`;
  const other = keys.find((key) => Array.isArray(sample.peek(key)) && /conv|chat|dialog|mess|turn/i.test(key));
  const columns = other
    ? `; if ${quote(other)} is the conversation, write "columns": {"messages": ${quote(other)}} into dataset.json`
    : '';
  return `no form of samples fits ${found}: a row has ${lackOf(sample)}; ${tried.join('; ')}${columns}${withinOf(sample)}`;
}

/** An object that holds samples is none itself. */
function withinOf(sample: Fields): string {
  const { keys } = sample;
  const values = keys.map((key) => sample.peek(key));
  if (keys.length > 0 && values.every(isObject))
    return `; if ${quote(keys[0])} and the others are samples, write them as a list or as lines, without these keys`;
  const within = keys.filter((_, i) => Array.isArray(values[i]) && (values[i] as unknown[]).every(isObject));
  return within.length === 1 ? `; if the samples are those under ${quote(within[0])}, write that list alone` : '';
}
