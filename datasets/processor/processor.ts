import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { LiloraError } from '../../core/errors.ts';
import { parseJson } from '../../core/json.ts';
import { type EncodedSample, IMAGE_MARKER, type Sample } from '../../core/sample.ts';
import { decodeImage } from '../image.ts';
import { openChat } from './chat.ts';
import { outputSize, parseImageSettings, toPixels } from './image-processor.ts';
import { openTokenizer } from './tokenizer.ts';

/** Everything between a sample and the numbers that a model is fed; made from the model's own folder. */
export interface Processor {
  /** What the tower sees. */
  readonly imageSize: { readonly height: number; readonly width: number };
  readonly tokensPerImage: number;
  /** Longest row of tokens, image tokens included. */
  readonly contextLength: number;
  /** The conversation up to the last answer, ready for generation. */
  encodePrompt(sample: Sample): EncodedSample;
  /** The whole conversation; loss on every answer and on the end token after the last. */
  encodeTraining(sample: Sample): EncodedSample;
  /** A prompt as it is, without the chat template; its markers become image tokens. */
  encodeRaw(prompt: string): Int32Array;
  /** Text of new tokens, without special tokens. */
  decode(ids: readonly number[]): string;
  /** An encoded image file as the tower wants it: [3, height, width], float32. */
  pixels(encoded: Uint8Array): Promise<Float32Array>;
}

const configSchema = z.looseObject({
  image_token_index: z.int().optional(),
  image_token_id: z.int().optional(),
  vision_feature_select_strategy: z.enum(['default', 'full']).default('default'),
  vision_config: z.looseObject({ image_size: z.int().positive(), patch_size: z.int().positive() }),
  text_config: z.looseObject({
    max_position_embeddings: z.int().positive().default(2048),
    eos_token_id: z.unknown().optional(),
  }),
});

/** Opens the processor of a LLaVA model folder; `BadModel` when files are missing or say what is not supported. */
export async function openProcessor(folder: string): Promise<Processor> {
  const config = configSchema.safeParse(await readJson(folder, 'config.json'));
  if (!config.success) throw new LiloraError('BadModel', `config.json: ${z.prettifyError(config.error)}`);
  const { vision_config: vision, text_config: text, vision_feature_select_strategy: strategy } = config.data;
  const imageToken = config.data.image_token_index ?? config.data.image_token_id;
  if (imageToken === undefined)
    throw new LiloraError('BadModel', 'config.json names no image_token_index. Correct the file.');
  const tokensPerImage = Math.floor(vision.image_size / vision.patch_size) ** 2 + (strategy === 'full' ? 1 : 0);

  const tokenizer = await openTokenizer(folder);
  const chat = await openChat(folder, tokenizer.names);
  const eos = tokenizer.names['eos_token'];
  const endToken = eos === undefined ? undefined : tokenizer.idOf(eos);
  if (eos === undefined || endToken === undefined)
    throw new LiloraError(
      'BadModel',
      'tokenizer_config.json names no eos_token that the tokenizer knows. Correct the file.',
    );
  const settings = await imageSettings(folder);
  const imageSize = outputSize(settings);
  if (!imageSize)
    throw new LiloraError('BadModel', 'The image processor gives pictures of no fixed size. Set crop_size.');

  /** Text with markers as ids, each marker as many image tokens as the tower gives features. */
  const expand = (ids: readonly number[]) =>
    Int32Array.from(ids.flatMap((id) => (id === imageToken ? Array<number>(tokensPerImage).fill(id) : [id])));

  /** Special tokens in people's text would change the structure of the conversation. */
  const refuseSpecial = ({ id, turns }: Sample) => {
    for (const { text } of turns)
      for (const token of tokenizer.special)
        if (token !== IMAGE_MARKER && text.includes(token))
          throw new LiloraError(
            'BadDataset',
            `Sample ${id}: its text holds the special token ${token}. Remove or rewrite it.`,
          );
  };

  const checked = (sample: Sample, ids: Int32Array) => {
    const images = ids.reduce((count, token) => count + Number(token === imageToken), 0) / tokensPerImage;
    if (images !== sample.images.length)
      throw new LiloraError(
        'BadDataset',
        `Sample ${sample.id}: ${images} image markers for ${sample.images.length} images after the template.`,
      );
    return ids;
  };

  return {
    imageSize,
    tokensPerImage,
    contextLength: text.max_position_embeddings,

    encodePrompt(sample) {
      refuseSpecial(sample);
      const last = sample.turns.findLastIndex(({ role }) => role === 'assistant');
      const turns = last < 0 ? sample.turns : sample.turns.slice(0, last);
      const inputIds = checked(sample, expand(tokenizer.encode(chat(turns, true))));
      return { id: sample.id, inputIds, labels: null, images: sample.images, references: sample.references };
    },

    encodeTraining(sample) {
      refuseSpecial(sample);
      const whole = endOf(chat(sample.turns, false), eos);
      const ids = tokenizer.encode(whole);
      const answered = new Array<boolean>(ids.length).fill(false);
      sample.turns.forEach(({ role }, k) => {
        if (role !== 'assistant') return;
        // Where the answer stands is the template's business: it lies between the prompt for it and the text with it.
        const start = prefixLength(sample, ids, chat(sample.turns.slice(0, k), true));
        const isLast = k === sample.turns.length - 1;
        const end = isLast
          ? ids.length
          : prefixLength(sample, ids, chat(sample.turns.slice(0, k + 1), false).trimEnd());
        if (end <= start)
          throw new LiloraError(
            'BadDataset',
            `Sample ${sample.id}: no token of answer ${k + 1} carries loss. Write an answer.`,
          );
        answered.fill(true, start, end);
      });
      const inputIds = checked(sample, expand(ids));
      const labels = expandLabels(ids, answered);
      return { id: sample.id, inputIds, labels, images: sample.images, references: sample.references };
    },

    encodeRaw: (prompt) => expand(tokenizer.encode(prompt)),
    decode: tokenizer.decode,
    pixels: async (encoded) => toPixels(await decodeImage(encoded, 'image'), settings).data,
  };

  /** Tokens of the text that ends there; it must be a prefix of the whole conversation's tokens. */
  function prefixLength(sample: Sample, ids: readonly number[], prefix: string): number {
    const head = tokenizer.encode(prefix);
    const same = head.every((id, i) => id === ids[i]);
    if (same) return head.length;
    throw new LiloraError(
      'BadDataset',
      `Sample ${sample.id}: the chat template or the tokenizer changes the prompt when an answer follows, so that its tokens cannot be told apart.`,
    );
  }

  function expandLabels(ids: readonly number[], answered: readonly boolean[]): Int32Array {
    return Int32Array.from(
      ids.flatMap((id, i) =>
        id === imageToken ? Array<number>(tokensPerImage).fill(-100) : [answered[i] ? id : -100],
      ),
    );
  }
}

/** Generation must learn to stop: where the template does not end an answer, the end token follows its last word. */
function endOf(rendered: string, eos: string): string {
  const text = rendered.trimEnd();
  return text.endsWith(eos) ? text : `${text}${eos}`;
}

async function readJson(folder: string, name: string): Promise<unknown> {
  const bytes = await readFile(join(folder, name)).catch(() => null);
  if (!bytes)
    throw new LiloraError('BadModel', `${join(folder, name)} does not exist. Name a Hugging Face model folder.`);
  return parseJson(bytes, name, { errorName: 'BadModel' });
}

/** Settings of the image processor, in a file of its own or within the processor's. */
async function imageSettings(folder: string) {
  const own = await readFile(join(folder, 'preprocessor_config.json')).catch(() => null);
  if (own)
    return parseImageSettings(
      parseJson(own, 'preprocessor_config.json', { errorName: 'BadModel' }),
      'preprocessor_config.json',
    );
  const common = (await readJson(folder, 'processor_config.json')) as { image_processor?: unknown };
  return parseImageSettings(common.image_processor ?? {}, 'processor_config.json');
}
