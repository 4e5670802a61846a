import { IMAGE_MARKER, type Turn } from '../../core/sample.ts';
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
import type { ReadImage } from './reader.ts';

const ROLES: Readonly<Record<string, Turn['role']>> = {
  user: 'user',
  assistant: 'assistant',
  system: 'system',
  developer: 'system',
};
const SHAPE = 'write {"messages": [{"role": "user", "content": …}, {"role": "assistant", "content": …}]}';
const WORDS: Words = { user: 'user', assistant: 'assistant' };
const KINDS_OF_PART = 'use {"type": "text", "text": …}, {"type": "image", "image": path} or {"type": "image_url", …}';

/**
 * Chat messages as OpenAI's and TRL's fine-tuning read them: `{messages: [{role, content}], images?: [path], references?}`.
 * `content` is a text, with one `<image>` for each of `images`, or a list of parts: `{type: "text", text}`,
 * `{type: "image", image: path or data: URI}`, `{type: "image"}` (the next of `images`) and
 * `{type: "image_url", image_url: {url}}` with a relative path or a `data:` URI; nothing is fetched from the network.
 */
export const messages: SampleFormat = {
  name: 'messages',
  fits: (sample) => Array.isArray(sample['messages']),
  read(sample, { place, where }) {
    const listed = readImages(sample['images'] ?? sample['image'], 'images', where);
    const images: ReadImage[] = [];
    const rest = [...listed];
    const next = (what: string): ReadImage =>
      rest.shift() ?? refuse(`${what} is an image, but "images" has only ${listed.length}; add it there`);
    const turns = turnList(sample['messages'], 'messages', SHAPE).map((message: unknown, i): Turn => {
      const turn = `turn ${i + 1}`;
      if (!isObject(message)) refuse(`${turn} must be an object with "role" and "content"`);
      const { role: name, content } = message;
      const role = typeof name === 'string' && Object.hasOwn(ROLES, name) ? ROLES[name] : undefined;
      if (!role) refuse(`${turn} has the role ${quote(name)}; use user, assistant or system`);
      const isAnswer = role === 'assistant';
      if (isAnswer && message['weight'] === 0)
        refuse(`${turn} has the weight 0, but every answer is learned; write it as a conversation that ends later`);
      const what = `${turn} (${String(name)})`;
      if (!Array.isArray(content)) {
        const text = readText(content, what, isAnswer);
        for (let n = text.split(IMAGE_MARKER).length - 1; n > 0 && rest.length > 0; n--) images.push(rest.shift()!);
        return { role, text };
      }
      let text = '';
      for (const [k, part] of content.entries()) {
        const piece = readPart(part, `${turn}, part ${k + 1}`, `${where}: ${turn}, part ${k + 1}`, next);
        if (typeof piece === 'string') text += piece;
        else images.push(piece.image);
        if (typeof piece !== 'string') text += `${IMAGE_MARKER}\n`;
      }
      return { role, text: readText(text, what, isAnswer) };
    });
    checkTurns(turns, images.length + rest.length, WORDS);
    const references = readReferences(sample['references'], turns.at(-1)!.text);
    return { id: readId(sample['id'], place), where, turns, images, references };
  },
};

/** A part of a message: its text, or its image. */
function readPart(
  part: unknown,
  what: string,
  name: string,
  next: (what: string) => ReadImage,
): string | { readonly image: ReadImage } {
  if (!isObject(part)) refuse(`${what} must be an object; ${KINDS_OF_PART}`);
  const image = (value: unknown) => ({ image: readImages(value, 'image', name)[0] ?? next(what) });
  switch (part['type']) {
    case 'text': {
      const { text } = part;
      if (typeof text !== 'string') refuse(`${what} must hold a text, not ${quote(text)}`);
      if (text.includes(IMAGE_MARKER)) refuse(`${what} holds ${IMAGE_MARKER} in a text; make it a part of type image`);
      return text;
    }
    case 'image':
      return image(part['image'] ?? part['url'] ?? part['path']);
    case 'image_url': {
      const url = isObject(part['image_url']) ? part['image_url']['url'] : part['image_url'];
      if (url === undefined || url === null) refuse(`${what} has no image_url.url; add it`);
      return image(url);
    }
    default:
      refuse(`${what} has the type ${quote(part['type'])}; ${KINDS_OF_PART}`);
  }
}
