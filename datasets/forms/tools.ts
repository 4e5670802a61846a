import { WrittenNumber } from '../../core/json.ts';
import type { ToolCall } from '../../core/sample.ts';
import { quote } from '../problems.ts';
import type { Fields } from './fields.ts';
import { fromJsonText, holds, isObject, refuse } from './values.ts';

/* Tools, their calls and results, as OpenAI and ShareGPT write them. */

/** The tools of a sample as templates take them: `tools` (a list or JSON text), or the older `functions`. Null when there are none. */
export function toolsOf(sample: Fields): object[] | null {
  const all = ['tools', 'functions'].flatMap((key) => {
    const given = sample.take(key);
    const value = fromJsonText(given, `"${key}"`);
    if (!holds(value)) return [];
    if (!Array.isArray(value)) refuse(`"${key}" must be a list of tools, not ${quote(value)}`);
    return value.map((each: unknown, i) => {
      const isPadded = sample.isTable && typeof given !== 'string' && typeof each !== 'string';
      return toolOf(fromJsonText(each, `"${key}" ${i + 1}`), `"${key}" ${i + 1}`, isPadded);
    });
  });
  return all.length > 0 ? all : null;
}

/** @param isPadded whether nulls are no values, as in tables */
function toolOf(value: unknown, what: string, isPadded: boolean): object {
  if (!isObject(value)) refuse(`${what} must be an object with a name, not ${quote(value)}`);
  const schema = plain(value, what, isPadded) as Record<string, unknown>;
  const { function: inner, name } = schema;
  if (isObject(inner) && typeof inner['name'] === 'string') return schema;
  if (typeof name !== 'string') refuse(`${what} has no name; write {"type": "function", "function": {"name": …}}`);
  return { type: 'function', function: schema };
}

/** Calls of an assistant turn: `tool_calls`, or the older `function_call`. */
export function callsOf(turn: Fields, what: string): ToolCall[] {
  const listed = turn.take('tool_calls');
  const one = turn.take('function_call');
  const value = holds(listed) ? listed : one;
  return holds(value) ? readCalls(value, `${what}: tool_calls`, turn.isTable) : [];
}

/** Calls as a value or JSON text: one or a list of `{name, arguments}`, `arguments` an object or JSON text. */
export function readCalls(value: unknown, what: string, isTable: boolean): ToolCall[] {
  const said = fromJsonText(value, what);
  const calls: unknown[] = Array.isArray(said) ? said : [said];
  const isPadded = isTable && typeof value !== 'string';
  return calls.map((call, i) =>
    readCall(fromJsonText(call, what), calls.length > 1 ? `${what} ${i + 1}` : what, isPadded),
  );
}

const CALL_KEYS = new Set(['id', 'type', 'index', 'function', 'name', 'arguments', 'parameters']);

function readCall(value: unknown, what: string, isPadded: boolean): ToolCall {
  if (!isObject(value)) refuse(`${what} must be an object with "name" and "arguments", not ${quote(value)}`);
  const call = isObject(value['function']) ? value['function'] : value;
  const { name } = call;
  for (const [key, held] of Object.entries({ ...value, ...call }))
    if (!CALL_KEYS.has(key) && holds(held)) refuse(`${what} has the key ${quote(key)}, which is not read; remove it`);
  const id = value['id'];
  if (typeof name !== 'string' || name === '')
    refuse(`${what} has no name of a tool; write {"name": …, "arguments": {…}}`);
  const written = call['arguments'] ?? call['parameters'] ?? {};
  const said = fromJsonText(written, `${what}: arguments`);
  const given = said === '' ? {} : said;
  if (!isObject(given)) refuse(`${what}: arguments must be an object, not ${quote(given)}`);
  return {
    name,
    arguments: plain(given, `${what}: arguments`, isPadded && isObject(written)) as Record<string, unknown>,
    ...(typeof id === 'string' && id !== '' && { id }),
  };
}

/** A JSON value with plain numbers; one that a double cannot hold is refused. @param isPadded leaves nulls out */
function plain(value: unknown, what: string, isPadded: boolean): unknown {
  if (typeof value === 'bigint' || value instanceof WrittenNumber) {
    const number = Number(value);
    if (/^-?\d+$/.test(String(value)) && BigInt(String(value)) !== BigInt(number))
      refuse(`${what} holds the number ${String(value)}, which has too many digits; write it as a text`);
    return number;
  }
  if (Array.isArray(value)) return value.map((item: unknown) => plain(item, what, isPadded));
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, each]) => !isPadded || (each !== null && each !== undefined))
      .map(([key, each]) => [key, plain(each, what, isPadded)]),
  );
}
