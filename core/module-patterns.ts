import { LiloraError } from './errors.ts';

/** Longest expression: what a person writes, not what runs for ever. */
const LONGEST = 300;
/** Most patterns of one adapter: more than any model has layers. */
const MOST = 5000;

/**
 * A regular expression that holds for a whole module path, checked before it is used. Throws `name`.
 * @param what names it in messages
 */
export function moduleExpression(text: string, what: string, name: 'BadConfig' | 'BadModel' = 'BadConfig'): RegExp {
  const wrong = (why: string) =>
    new LiloraError(name, `${what} ${JSON.stringify(text)} ${why}. Mend it, or list names of layers.`);
  if (text.length > LONGEST) throw wrong(`has more than ${LONGEST} characters`);
  // A repetition of a repetition may take for ever on a path that nearly matches.
  if (/[*+}]\)?[*+{]|\([^()]*[*+][^()]*\)[*+{]/.test(text)) throw wrong('repeats a repetition');
  try {
    return new RegExp(`^(?:${text})$`);
  } catch (error) {
    throw wrong(`is no regular expression (${(error as Error).message})`);
  }
}

/**
 * Looks up which keys of a `rank_pattern` or `alpha_pattern` match a module path, in their order. As PEFT
 * (`get_pattern_key`): a key is a regular expression for the whole path or for what follows a dot in it. Throws `name`.
 */
export function patternMatcher(
  keys: readonly string[],
  what: string,
  name: 'BadConfig' | 'BadModel' = 'BadConfig',
): (path: string) => string[] {
  if (keys.length > MOST) throw new LiloraError(name, `${what} has ${keys.length} entries, more than ${MOST}.`);
  const expressions = keys.map((key) => {
    const whole = moduleExpression(key, `${what}: the key`, name);
    return [key, new RegExp(`^(?:.*\\.)?${whole.source.slice(1)}`)] as const;
  });
  return (path) => expressions.flatMap(([key, expression]) => (key === path || expression.test(path) ? [key] : []));
}
