import type { Turn } from '../../core/sample.ts';
import type { Fields } from './fields.ts';
import type { Marks } from './marks.ts';
import { thoughtOf } from './message.ts';
import { isObject, readText } from './values.ts';

/* Rounds: a question and its answer in one object, as The Cauldron, FineVision and XTuner write them. */

const PAIRS = [
  ['user', 'assistant'],
  ['human', 'assistant'],
  ['input', 'output'],
  ['question', 'answer'],
  ['query', 'response'],
] as const;

/** The keys of question and answer, where an object is a round. */
const pairOf = (keys: (name: string) => boolean) => PAIRS.find(([asked, said]) => keys(asked) && keys(said));

/** Whether an item of a list is a round, not a turn. */
export const isRound = (item: unknown): boolean => isObject(item) && pairOf((name) => name in item) !== undefined;

/** The turns of one round. @param number counts from 1 */
export function readRound(round: Fields, number: number, marks: Marks): Turn[] {
  const [asked, said] = pairOf((name) => round.isPresent(name))!;
  const [question, answer] = [`round ${number} (${asked})`, `round ${number} (${said})`];
  const system = number === 1 ? round.take('system') : null;
  const text = marks.asked(readText(round.take(asked), question, false), question);
  const told = marks.plain(readText(round.take(said), answer, true), answer);
  return [
    ...(system === null || system === ''
      ? []
      : [{ role: 'system', text: marks.plain(readText(system, 'the system', false), 'the system') } as const]),
    { role: 'user', text },
    { role: 'assistant', ...thoughtOf(round, told, answer) },
  ];
}
