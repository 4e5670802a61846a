import { IMAGE_MARKER, type ToolCall, type Turn } from '../../core/sample.ts';
import { quote } from '../problems.ts';
import type { Fields } from './fields.ts';
import type { Marks } from './marks.ts';
import { readImage } from './pictures.ts';
import { callsOf, readCalls } from './tools.ts';
import { checkText, holds, isObject, itemsOf, readText, refuse, textOf } from './values.ts';

/* One turn of a conversation: `{role, content}` or `{from, value}`. */

type Role = Turn['role'] | 'call';

const ROLES: ReadonlyMap<string, Role> = new Map(
  Object.entries({
    user: ['user', 'human'],
    assistant: ['assistant', 'gpt', 'chatgpt', 'model', 'bot'],
    system: ['system', 'developer'],
    tool: ['tool', 'function', 'observation', 'tool_response'],
    call: ['function_call', 'tool_call'],
  } satisfies Record<Role, string[]>).flatMap(([role, names]) => names.map((name) => [name, role as Role])),
);
const KINDS_OF_PART = 'use {"type": "text", "text": …}, {"type": "image", "image": path} or {"type": "image_url", …}';

/** Reads one turn. @param number counts from 1 @param where names the sample */
export function readMessage(turn: Fields, number: number, marks: Marks, where: string): Turn {
  const name = turn.take('role') ?? turn.take('from');
  const content = turn.isPresent('content') ? turn.take('content') : (turn.take('value') ?? turn.take('text'));
  const role = ROLES.get((textOf(name) ?? '').toLowerCase()) ?? null;
  if (name === null)
    refuse(`turn ${number} has the keys ${turn.keys.join(', ')}; write "role" and "content", or "from" and "value"`);
  if (role === null)
    refuse(`turn ${number} has the role ${quote(name)}; use user (human), assistant (gpt), system or tool`);
  const what = `turn ${number} (${String(name)})`;
  if (role === 'call')
    return {
      role: 'assistant',
      text: '',
      toolCalls: readCalls(content, what, turn.isTable),
      ...lossOf(turn, true, what),
    };
  const calls = role === 'assistant' ? callsOf(turn, what) : [];
  const text = textOfContent(turn, content, { role, calls, what, where, marks });
  if (role === 'tool') return { role, text, ...resultOf(turn), ...lossOf(turn, false, what) };
  if (role !== 'assistant') return { role, text, ...lossOf(turn, false, what) };
  return {
    role,
    ...thoughtOf(turn, text, what),
    ...lossOf(turn, true, what),
    ...(calls.length > 0 && { toolCalls: calls }),
  };
}

/** What the parts of one turn have in common. */
interface Turning {
  readonly role: Turn['role'];
  readonly calls: readonly ToolCall[];
  readonly what: string;
  readonly where: string;
  readonly marks: Marks;
}

function textOfContent(turn: Fields, content: unknown, turning: Turning): string {
  const { role, calls, what, marks } = turning;
  const isAnswer = role === 'assistant';
  // A call may stand without words, and a tool may have nothing to say.
  if (!holds(content) && (calls.length > 0 || role === 'tool')) return '';
  const parts = isObject(content) ? (itemsOf(content, what) ?? [content]) : content;
  if (!Array.isArray(parts)) {
    const text = readText(content, what, isAnswer);
    return role === 'user' ? marks.asked(text, what) : marks.plain(text, what);
  }
  let text = '';
  for (const [k, part] of parts.entries()) {
    const at = { ...turning, what: `${what}, part ${k + 1}` };
    if (typeof part === 'string') text += partText(part, at);
    else if (isObject(part)) text += readPart(turn.inside(part, 'content[]'), at);
    else refuse(`${at.what} must be an object; ${KINDS_OF_PART}`);
  }
  return readText(text, what, isAnswer);
}

/** A part of a message as text; the image of one goes to the marks. */
function readPart(part: Fields, turning: Turning): string {
  const { what } = turning;
  const type = part.take('type') ?? (part.has('text') ? 'text' : part.has('image') ? 'image' : null);
  part.take('cache_control');
  switch (type) {
    case 'text':
    case 'input_text':
    case 'output_text':
      return partText(part.take('text'), turning);
    case 'image':
      return placeImage(part, imageKeyOf(part, ['image', 'url', 'path', 'base64', 'data']), turning);
    case 'image_url': {
      const value = part.take('image_url');
      if (!holds(value)) refuse(`${what} has no image_url.url; add it`);
      if (!isObject(value)) return placeImage(part, value, turning);
      const inner = part.inside(value, 'image_url');
      inner.take('detail');
      return placeImage(part, inner.take('url') ?? refuse(`${what} has no image_url.url; add it`), turning);
    }
    default: {
      const other = /audio|video/.test(String(textOf(type))) ? 'video and audio are not read yet' : KINDS_OF_PART;
      refuse(`${what} has the type ${quote(type)}; ${other}`);
    }
  }
}

function imageKeyOf(part: Fields, keys: readonly string[]): unknown {
  const source = part.peek('source');
  if (!isObject(source)) return part.take(keys.find((key) => part.has(key)) ?? 'image');
  // As Anthropic's API takes it.
  part.take('source');
  const inner = part.inside(source, 'source');
  for (const key of ['type', 'media_type']) inner.take(key);
  return inner.take(['data', 'url', 'path'].find((key) => inner.has(key)) ?? 'data');
}

function placeImage(part: Fields, own: unknown, { what, where, marks }: Turning): string {
  for (const key of ['min_pixels', 'max_pixels', 'resized_height', 'resized_width'])
    if (part.has(key)) refuse(`${what} sets ${key}; pictures are sized by the model's own settings: remove it`);
  const index = part.take('index');
  marks.put(
    holds(own) ? readImage(own, 'image', `${where}: ${what}: image`) : null,
    what,
    typeof index === 'number' || typeof index === 'bigint' ? Number(index) : null,
  );
  return `${IMAGE_MARKER}\n`;
}

function partText(text: unknown, { what, role, marks }: Turning): string {
  if (typeof text !== 'string') refuse(`${what} must hold a text, not ${quote(text)}`);
  checkText(text, what);
  const kept = marks.plain(text, what);
  if (kept.includes(IMAGE_MARKER))
    refuse(
      `${what} holds ${IMAGE_MARKER} in a text; make it a part of type image, or write "marker" into dataset.json if it is text`,
    );
  return role === 'user' ? marks.asked(text, what) : kept;
}

/** Which tool answers. */
function resultOf(turn: Fields): Pick<Turn, 'name' | 'toolCallId'> {
  const [name, id] = [textOf(turn.take('name')), textOf(turn.take('tool_call_id'))];
  return { ...(name && { name }), ...(id && { toolCallId: id }) };
}

const SAYS: ReadonlyMap<string, boolean> = new Map([
  ...['true', '1', '1.0'].map((text) => [text, true] as const),
  ...['false', '0', '0.0'].map((text) => [text, false] as const),
]);

/** Marks of turns without loss, as trainers write them: true, 1 and absent learn; false and 0 do not. */
function lossOf(turn: Fields, isAnswer: boolean, what: string): Pick<Turn, 'loss'> {
  let isLearned: boolean | null = null;
  for (const [key, learns] of [
    ['loss', true],
    ['train', true],
    ['training', true],
    ['weight', true],
    ['mask', false],
    ['masked', false],
  ] as const) {
    const value = turn.take(key);
    if (value === null) continue;
    const says = SAYS.get((textOf(value) ?? '').toLowerCase());
    if (says === undefined)
      refuse(`${what} has ${key} ${quote(value)}; a turn is learned (1, true) or not (0, false), nothing between`);
    const isOne = says === learns;
    if (isLearned !== null && isLearned !== isOne) refuse(`${what} says both that it is learned and that it is not`);
    isLearned = isOne;
  }
  if (isLearned === true && !isAnswer) refuse(`${what} is to be learned, but only answers can be; remove the mark`);
  return isLearned === false && isAnswer ? { loss: false } : {};
}

const THOUGHT_KEYS = ['reasoning_content', 'reasoning', 'thinking'];
const THOUGHT = /^\s*<think>([\s\S]*?)<\/think>\s*/;
const HOW = 'say "reasoning": "learn" in dataset.json to learn it, or "leave-out" to learn the answer alone';

/** What the assistant thought, by the manifest's setting; and its answer. */
export function thoughtOf(turn: Fields, text: string, what: string): Pick<Turn, 'text' | 'reasoning'> {
  const setting = turn.manifest.reasoning;
  const found = THOUGHT_KEYS.filter((key) => turn.has(key));
  const [key, second] = found;
  if (second !== undefined) refuse(`${what} has both ${key} and ${second}; remove one`);
  const within = THOUGHT.exec(text);
  if (setting === undefined) {
    if (key !== undefined) refuse(`${what} holds what was thought (${key}); ${HOW}`);
    if (within) refuse(`${what} begins with what was thought (<think>); ${HOW}`);
    return { text };
  }
  if (setting === 'learn')
    return { text, ...(key !== undefined && { reasoning: readText(turn.take(key), `${what}: ${key}`, false) }) };
  if (key !== undefined) turn.leave(key);
  if (within) turn.leave('<think>');
  const answer = text.replace(THOUGHT, '');
  if (answer === '' && text !== '') refuse(`${what} holds nothing but what was thought; add the answer`);
  return { text: answer };
}
