import { createContext, Script } from 'node:vm';
import { LiloraError } from './errors.ts';

/** Longest expression: what a person writes, not what runs for ever. */
const LONGEST = 300;
/** Most patterns of one adapter: more than any model has layers. */
const MOST = 5000;
/** All expressions of one kind together may take so long, in milliseconds: they come from outside. */
const BUDGET = 2000;

type ErrorKind = 'BadConfig' | 'BadModel';

/** An expression for whole module paths. Throws when its time is up. */
export interface ModuleExpression {
  readonly source: string;
  test(path: string): boolean;
}

/**
 * A regular expression that holds for a whole module path, checked before it is used. Throws `name`.
 * @param what names it in messages
 */
export function moduleExpression(text: string, what: string, name: ErrorKind = 'BadConfig'): ModuleExpression {
  const wrong = (why: string) =>
    new LiloraError(name, `${what} ${JSON.stringify(text)} ${why}. Mend it, or list names of layers.`);
  if (text.length > LONGEST) throw wrong(`has more than ${LONGEST} characters`);
  // A repetition of a repetition may take for ever on a path that nearly matches.
  if (/[*+}]\)?[*+{]|\([^()]*[*+][^()]*\)[*+{]/.test(text)) throw wrong('repeats a repetition');
  try {
    const expression = new RegExp(`^(?:${fromPython(text)})$`);
    const matching = bounded([expression], () => wrong('takes too long'));
    return { source: expression.source, test: (path) => matching(path).length > 0 };
  } catch (error) {
    if (error instanceof SyntaxError) throw wrong(`is no regular expression (${error.message})`);
    throw error;
  }
}

/** What Python writes in other characters: PEFT's expressions are Python's. */
function fromPython(text: string): string {
  const others: Readonly<Record<string, string>> = { '\\A': '^', '\\Z': '$', '(?P<': '(?<', '{,': '{0,' };
  return text.replace(/\\.|\(\?P<|\{,(?=\d+\})/gs, (found) => others[found] ?? found);
}

/**
 * Looks up which keys of a `rank_pattern` or `alpha_pattern` match a module path, in their order. As PEFT
 * (`get_pattern_key`): a key is a regular expression for the whole path or for what follows a dot in it. Throws `name`.
 */
export function patternMatcher(
  keys: readonly string[],
  what: string,
  name: ErrorKind = 'BadConfig',
): (path: string) => string[] {
  if (keys.length > MOST) throw new LiloraError(name, `${what} has ${keys.length} entries, more than ${MOST}.`);
  const expressions = keys.map((key) => {
    const whole = moduleExpression(key, `${what}: the key`, name);
    return new RegExp(`^(?:.*\\.)?${whole.source.slice(1)}`);
  });
  const matching = bounded(
    expressions,
    () => new LiloraError(name, `${what} takes too long to match. Write names of layers in full.`),
  );
  return (path) => {
    const matched = new Set(matching(path));
    return keys.filter((key, i) => key === path || matched.has(i));
  };
}

const scope = createContext({ expressions: [], path: '' });
const script = new Script('expressions.flatMap((expression, i) => (expression.test(path) ? [i] : []))');

/** Which of some expressions match a path. A clever one may need more steps than there are atoms, so their time is counted. */
function bounded(expressions: readonly RegExp[], late: () => LiloraError): (path: string) => number[] {
  let left = BUDGET;
  return (path) => {
    if (expressions.length === 0) return [];
    if (left < 1) throw late();
    const begun = performance.now();
    Object.assign(scope, { expressions, path });
    try {
      return [...(script.runInContext(scope, { timeout: Math.ceil(left) }) as number[])];
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw late();
      throw error;
    } finally {
      left -= performance.now() - begun;
    }
  };
}
