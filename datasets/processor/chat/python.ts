import type { Value } from './library.ts';

/** What Python writes for a value: `str` of it, or `repr` within lists and dictionaries. */
export function pythonText(value: Value, inside = false): string {
  switch (value.type) {
    case 'StringValue':
      return inside ? quoted(value.value as string) : (value.value as string);
    case 'BooleanValue':
      return value.value ? 'True' : 'False';
    case 'NullValue':
      return 'None';
    case 'UndefinedValue':
      return inside ? 'Undefined' : '';
    case 'ArrayValue':
      return `[${(value.value as Value[]).map((item) => pythonText(item, true)).join(', ')}]`;
    case 'TupleValue': {
      const items = (value.value as Value[]).map((item) => pythonText(item, true));
      return items.length === 1 ? `(${items[0]},)` : `(${items.join(', ')})`;
    }
    case 'ObjectValue':
      return `{${[...(value.value as Map<string, Value>)]
        .map(([key, item]) => `${quoted(key)}: ${pythonText(item, true)}`)
        .join(', ')}}`;
    default:
      return value.toString();
  }
}

const NAMED: Readonly<Record<string, string>> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' };

function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = text.replaceAll(/[\\\p{Cc}]/gu, (letter) => {
    return NAMED[letter] ?? `\\x${letter.charCodeAt(0).toString(16).padStart(2, '0')}`;
  });
  return quote + (quote === "'" ? escaped.replaceAll("'", "\\'") : escaped) + quote;
}

const NUMERIC = ['IntegerValue', 'FloatValue', 'BooleanValue'];

/** Python's `==`: by value, never across kinds. */
export function equal(a: Value, b: Value): boolean {
  if (NUMERIC.includes(a.type) && NUMERIC.includes(b.type)) return Number(a.value) === Number(b.value);
  if (a.type !== b.type) return false;
  switch (a.type) {
    case 'ArrayValue':
    case 'TupleValue': {
      const [left, right] = [a.value as Value[], b.value as Value[]];
      return left.length === right.length && left.every((item, i) => equal(item, right[i]!));
    }
    case 'ObjectValue': {
      const [left, right] = [a.value as Map<string, Value>, b.value as Map<string, Value>];
      const same = ([key, item]: [string, Value]) => right.has(key) && equal(item, right.get(key)!);
      return left.size === right.size && [...left].every(same);
    }
    default:
      return a.value === b.value;
  }
}

/** Python's white space: other than JavaScript's, with U+001C to U+001F and U+0085, without U+FEFF. */
const WHITE = '\t-\r\x1c- \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000';

/** `str.strip`, `lstrip` or `rstrip` of some letters, or of white space. */
export function strip(text: string, letters: unknown, start: boolean, end: boolean): string {
  const set = typeof letters === 'string' ? letters.replaceAll(/[\\\]^-]/g, '\\$&') : WHITE;
  if (set === '') return text;
  const left = start ? text.replace(new RegExp(`^[${set}]+`, 'u'), '') : text;
  return end ? withoutEnd(left, new RegExp(`[${set}]`, 'u')) : left;
}

/** By hand: a pattern that ends a text is tried at every place of it. */
function withoutEnd(text: string, letter: RegExp): string {
  const letters = Array.from(text);
  let end = letters.length;
  while (end > 0 && letter.test(letters[end - 1]!)) end--;
  return end === letters.length ? text : letters.slice(0, end).join('');
}

const capitalized = (text: string) => text.charAt(0).toUpperCase() + text.slice(1).toLowerCase();

/** Methods of Python's texts that the library has not, or has otherwise; arguments as plain values. */
export const METHODS: Readonly<Record<string, (text: string, ...args: unknown[]) => unknown>> = {
  strip: (text, letters) => strip(text, letters, true, true),
  lstrip: (text, letters) => strip(text, letters, true, false),
  rstrip: (text, letters) => strip(text, letters, false, true),
  capitalize: capitalized,
  // As the library's, which makes all of its methods anew for every text that one is asked of.
  upper: (text) => text.toUpperCase(),
  lower: (text) => text.toLowerCase(),
  removeprefix: (text, prefix) => (text.startsWith(String(prefix)) ? text.slice(String(prefix).length) : text),
  removesuffix: (text, suffix) =>
    suffix !== '' && text.endsWith(String(suffix)) ? text.slice(0, -String(suffix).length) : text,
  find: (text, part) => text.indexOf(String(part)),
  rfind: (text, part) => text.lastIndexOf(String(part)),
  count: (text, part) => text.split(String(part)).length - 1,
  splitlines: (text) => (text === '' ? [] : text.replace(/(\r\n|[\n\r])$/, '').split(/\r\n|[\n\r]/)),
  isdigit: (text) => /^\p{Nd}+$/u.test(text),
  isspace: (text) => text !== '' && strip(text, undefined, true, false) === '',
  isalpha: (text) => /^\p{L}+$/u.test(text),
  isupper: (text) => text !== text.toLowerCase() && text === text.toUpperCase(),
  islower: (text) => text !== text.toUpperCase() && text === text.toLowerCase(),
};
