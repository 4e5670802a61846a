import type { Turn } from '../../core/sample.ts';
import { quote } from '../problems.ts';
import {
  checkTurns,
  isObject,
  readId,
  readImages,
  readReferences,
  readText,
  refuse,
  turnList,
  type Words,
} from './conversation.ts';
import type { SampleFormat } from './json-samples.ts';

const ROLES: Readonly<Record<string, Turn['role']>> = { human: 'user', gpt: 'assistant', system: 'system' };
const SHAPE = 'write {"id": …, "image": "images/1.png", "conversations": [{"from": "human", "value": …}, …]}';
const WORDS: Words = { user: 'human', assistant: 'gpt' };

/**
 * The conversation format of LLaVA:
 * `{id, image?: path or list of paths, conversations: [{from: human|gpt|system, value}], references?: [answer]}`.
 * `<image>` stands in human turns, once per image. Answers lose the white space around them. Other keys are ignored.
 * `references` (not part of LLaVA) lists the accepted answers; without it, the last answer is the only one.
 */
export const llava: SampleFormat = {
  name: 'llava',
  fits: (sample) => Array.isArray(sample['conversations']),
  read(sample, { where }) {
    const id = readId(sample['id'], null);
    const turns = readTurns(sample['conversations'], ROLES);
    const images = readImages(sample['image'], 'image', where);
    checkTurns(turns, images.length, WORDS);
    return { id, where, turns, images, references: readReferences(sample['references'], turns.at(-1)!.text) };
  },
};

const MORE_ROLES = { ...ROLES, user: 'user', assistant: 'assistant' } as const;

/**
 * ShareGPT with images, as LLaMA-Factory and others write it: `{conversations: […], images?: [path], system?: text}`. As LLaVA,
 * but images stand in `images`, `user` and `assistant` are also understood, and an id is not asked for.
 */
export const sharegpt: SampleFormat = {
  name: 'sharegpt',
  fits: (sample) => Array.isArray(sample['conversations']) && sample['images'] !== undefined,
  read(sample, { place, where }) {
    const said = readTurns(sample['conversations'], MORE_ROLES);
    const system = sample['system'];
    const turns: Turn[] =
      system === undefined || system === null || system === ''
        ? said
        : [{ role: 'system', text: readText(system, '"system"', false) }, ...said];
    const images = readImages(sample['images'] ?? sample['image'], 'images', where);
    checkTurns(turns, images.length, WORDS);
    const references = readReferences(sample['references'], turns.at(-1)!.text);
    return { id: readId(sample['id'], place), where, turns, images, references };
  },
};

function readTurns(value: unknown, roles: Readonly<Record<string, Turn['role']>>): Turn[] {
  return turnList(value, 'conversations', SHAPE).map((turn: unknown, i): Turn => {
    if (!isObject(turn)) refuse(`turn ${i + 1} must be an object with "from" and "value"`);
    const from = turn['from'];
    const role = typeof from === 'string' && Object.hasOwn(roles, from) ? roles[from] : undefined;
    if (!role) refuse(`turn ${i + 1} is from ${quote(from)}; use human, gpt or system`);
    return { role, text: readText(turn['value'], `turn ${i + 1} (${String(from)})`, role === 'assistant') };
  });
}
