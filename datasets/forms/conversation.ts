import type { Turn } from '../../core/sample.ts';
import { quote } from '../problems.ts';
import type { ReadSample } from '../readers/reader.ts';
import type { Fields } from './fields.ts';
import type { At, Form } from './form.ts';
import { Marks } from './marks.ts';
import { readMessage } from './message.ts';
import { picturesOf } from './pictures.ts';
import { isRound, readRound } from './rounds.ts';
import { toolsOf } from './tools.ts';
import { checkTurns, type Words } from './turns.ts';
import { isObject, itemsOf, readId, readReferences, readText, refuse } from './values.ts';

const MESSAGES = 'write {"messages": [{"role": "user", "content": …}, {"role": "assistant", "content": …}]}';
const CONVERSATIONS =
  'write {"id": …, "image": "images/1.png", "conversations": [{"from": "human", "value": …}, {"from": "gpt", "value": …}]}';

/**
 * Chat messages as OpenAI's and TRL's fine-tuning read them: `{messages: [{role, content}], images?: [path], references?}`.
 * `content` is a text, with one `<image>` for each of `images`, or a list of parts: `{type: "text", text}`,
 * `{type: "image", image: path or data: URI}`, `{type: "image"}` (the next of `images`) and `{type: "image_url", image_url: {url}}`
 * with a relative path or a `data:` URI; nothing is fetched from the network. Images that no text marks stand before the first
 * question, as TRL puts them.
 */
export const messages: Form = {
  name: 'messages',
  needs: 'a list of turns under "messages"',
  fits: (sample) => sample.has(messagesKey(sample)),
  read: (sample, at) => readConversation(sample, messagesKey(sample), at, MESSAGES),
};

function messagesKey(sample: Fields): string {
  const named = sample.manifest.columns?.messages;
  return named !== undefined && sample.has(named) ? named : 'messages';
}

/**
 * Conversations of LLaVA: `{id?, image?: path or list of paths, conversations: [{from: human|gpt|system, value}], references?}`.
 * `<image>` stands in human turns, once per image. Turns with `role` and `content` are read as well.
 */
export const llava: Form = {
  name: 'llava',
  needs: 'a list of turns under "conversations"',
  fits: (sample) => CONVERSATION_KEYS.some((key) => sample.has(key)),
  read: (sample, at) =>
    readConversation(sample, CONVERSATION_KEYS.find((key) => sample.has(key)) ?? 'conversations', at, CONVERSATIONS),
};

const CONVERSATION_KEYS = ['conversations', 'conversation'];

/** ShareGPT with images, as LLaMA-Factory and others write it: as LLaVA, with `images`, `system` and `tools` beside. */
export const sharegpt: Form = { ...llava, name: 'sharegpt' };

function readConversation(sample: Fields, key: string, at: At, shape: string): Omit<ReadSample, 'where'> {
  const marks = new Marks(picturesOf(sample, at), sample.manifest);
  const items = itemsOf(sample.take(key), `"${key}"`);
  if (!items || items.length === 0) refuse(`"${key}" must be a list of turns; ${shape}`);
  const earlier = before(sample, marks);
  let isFrom = false as boolean;
  const said = items.flatMap((item, i): Turn[] => {
    if (!isObject(item)) refuse(`turn ${i + 1} must be an object with "role" and "content", or "from" and "value"`);
    const turn = sample.inside(item, `${key}[]`);
    if (isRound(item)) return readRound(turn, i + 1, marks);
    isFrom ||= turn.has('from');
    return [readMessage(turn, i + 1, marks, at.where)];
  });
  return finish(sample, [...earlier, ...said], marks, at, {
    ...(isFrom && { words: { user: 'human', assistant: 'gpt' } }),
    isInserted: !isFrom,
  });
}

/** Turns that stand beside the conversation: `system`, and earlier rounds in `history`, as ms-swift writes them. */
export function before(sample: Fields, marks: Marks): Turn[] {
  const { columns } = sample.manifest;
  const system = sample.take(columns?.system ?? 'system') ?? (columns?.system ? null : sample.take('system_prompt'));
  const turns: Turn[] = [];
  if (system !== null && system !== '')
    turns.push({ role: 'system', text: marks.plain(readText(system, '"system"', false), '"system"') });
  const key = columns?.history ?? 'history';
  const rounds = itemsOf(sample.take(key) ?? [], `"${key}"`);
  if (!rounds) refuse(`"${key}" must be a list of [question, answer]`);
  for (const [i, round] of rounds.entries()) {
    const what = `"${key}" ${i + 1}`;
    if (isObject(round)) turns.push(readMessage(sample.inside(round, `${key}[]`), i + 1, marks, what));
    else if (!Array.isArray(round) || round.length !== 2)
      refuse(`${what} must be [question, answer], not ${quote(round)}`);
    else {
      turns.push({ role: 'user', text: marks.asked(readText(round[0], `${what}: the question`, false), what) });
      turns.push({ role: 'assistant', text: marks.plain(readText(round[1], `${what}: the answer`, true), what) });
    }
  }
  return turns;
}

/** How a form differs in what it asks of a conversation. */
export interface Finishing {
  /** What it calls the two sides. Default user and assistant. */
  readonly words?: Words;
  /** Whether pictures without a mark stand before the first question. Default true. */
  readonly isInserted?: boolean;
  /** Accepted answers that were read already. */
  readonly accepted?: readonly string[];
}

/** The sample of these turns, checked. */
export function finish(
  sample: Fields,
  said: readonly Turn[],
  marks: Marks,
  at: At,
  { words = { user: 'user', assistant: 'assistant' }, isInserted = true, accepted }: Finishing = {},
): Omit<ReadSample, 'where'> {
  const { columns, specialTokens } = sample.manifest;
  const turns = marks.finish(said, isInserted);
  checkTurns(turns, marks.count, words);
  const tools = toolsOf(sample);
  const answer = answerOf(turns.at(-1)!);
  const references = accepted ?? readReferences(sample.take(columns?.references ?? 'references'), answer);
  return {
    id: idOf(sample, at),
    turns,
    images: marks.images,
    references: references.map((text) => marks.plain(text, 'a reference')),
    ...(tools && { tools }),
    ...(specialTokens && { specialTokens }),
  };
}

/** Its own id, that of its question, or its place. */
function idOf(sample: Fields, { place }: At): string {
  const named = sample.manifest.columns?.id;
  if (named === undefined) return readId(sample.take(sample.has('id') ? 'id' : 'question_id'), place);
  return readId(sample.take(named) ?? refuse(`no column ${quote(named)}, which "columns" names`), place);
}

/** The accepted answer of a last turn: its text, or the calls that it makes. */
const answerOf = ({ text, toolCalls = [] }: Turn): string =>
  text !== '' || toolCalls.length === 0
    ? text
    : toolCalls.map(({ name, arguments: given }) => JSON.stringify({ name, arguments: given })).join('\n');
