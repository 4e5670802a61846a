import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { TokenSpan } from '../../core/dataset-view.ts';
import { LiloraError } from '../../core/errors.ts';
import { parseJson } from '../../core/json.ts';
import { noConfig, refuseOtherKinds } from '../../core/model-folder.ts';
import { type EncodedSample, IMAGE_MARKER, literal, type Sample } from '../../core/sample.ts';
import { decodeImage } from '../image.ts';
import type { ImageSizes } from '../images.ts';
import { Untrainable } from '../problems.ts';
import { droppedBy } from './chat/checked.ts';
import { openChat } from './chat.ts';
import type { FamilyFiles } from './family.ts';
import type { Picture } from './picture.ts';
import { openFamily } from './registry.ts';
import { check } from './settings.ts';
import { spansOf } from './spans.ts';
import { specialTokens } from './special-tokens.ts';
import { openTokenizer, type Tokens } from './tokenizer.ts';

/** Sizes of images by digest: how many tokens an image becomes may depend on its size. */
export type { ImageSizes } from '../images.ts';

/** Everything between a sample and the numbers that a model is fed; made from the model's own folder. */
export interface Processor {
  /** Longest row of tokens, image tokens included. */
  readonly contextLength: number;
  /** The conversation up to the last answer, ready for generation. */
  encodePrompt(sample: Sample, sizes: ImageSizes): EncodedSample;
  /** The whole conversation; loss on every answer and on the end token after the last. `Untrainable` when one has none. */
  encodeTraining(sample: Sample, sizes: ImageSizes): EncodedSample;
  /** A prompt as it is, without the chat template; its markers become image tokens. */
  encodeRaw(prompt: string, images: readonly string[], sizes: ImageSizes): EncodedSample;
  /** Markers of images in a prompt without the chat template: ours, or the model's own. */
  countMarkers(prompt: string): number;
  /** Tokens as people read them: for somebody who looks at what is learned. */
  spans(sample: EncodedSample): TokenSpan[];
  /** Text of new tokens, without special tokens; `own`: but with those that answers may hold (`Sample.specialTokens`). */
  decode(ids: readonly number[], own?: boolean): string;
  /** An encoded image file as the tower wants it. */
  pixels(encoded: Uint8Array): Promise<Picture>;
}

const tokenId = z.int().min(0);
const tokenIds = z.union([tokenId, z.array(tokenId)]).nullish();

/** Where `config.json` names none, by `model_type`, as transformers has it. */
const IMAGE_TOKENS: Readonly<Record<string, number>> = {
  ...{ llava: 32000, idefics3: 128257, smolvlm: 128257, qwen2_vl: 151655 },
};

const configSchema = z.looseObject({
  model_type: z.string(),
  image_token_index: tokenId.optional(),
  image_token_id: tokenId.optional(),
  max_position_embeddings: z.int().positive().optional(),
  text_config: z.looseObject({ max_position_embeddings: z.int().positive().optional() }).nullish(),
});

/** Opens the processor of a model folder; `BadModel` when files are missing or say what is not supported. */
export async function openProcessor(folder: string): Promise<Processor> {
  const json = await readJson(folder, 'config.json', true);
  if (json === undefined) throw await noConfig(folder);
  refuseOtherKinds(json, join(folder, 'config.json'));
  const config = check(configSchema, json);
  const imageToken = config.image_token_index ?? config.image_token_id ?? IMAGE_TOKENS[config.model_type];
  if (imageToken === undefined)
    throw new LiloraError('BadModel', 'config.json names no image_token_index. Correct the file.');
  const tokenizer = await openTokenizer(folder);
  const imageText = tokenizer.textOf(imageToken);
  if (imageText === undefined)
    throw new LiloraError('BadModel', `config.json: the tokenizer has no token ${imageToken}, the image token.`);
  const ends = await endTexts(folder, tokenizer);
  const family = openFamily(await familyFiles(folder, json, imageText, tokenizer));
  const chat = await openChat(folder, tokenizer.names, family.raw ?? family.marker);
  const image = family.expand({ width: 2000, height: 1000 }).text;
  const special = specialTokens(tokenizer, chat, json, [...ends, family.marker, image]);

  /** Text as ids, every marker as what its image becomes. `at` is the sample's id for messages. */
  const encode = (text: string, images: readonly string[], sizes: ImageSizes, at: string) => {
    const pieces = text.split(family.marker);
    if (pieces.length - 1 !== images.length)
      throw new LiloraError(
        'BadDataset',
        `Sample ${at}: ${pieces.length - 1} image markers for ${images.length} images after the template.`,
      );
    const expansions = images.map((digest) => {
      const size = sizes.get(digest);
      if (!size) throw new LiloraError('IntegrityError', `The size of image ${digest} is not known.`);
      return family.expand(size);
    });
    const ids = tokenizer.encode(pieces.map((piece, i) => piece + (expansions[i]?.text ?? '')).join(''));
    const lengths = expansions.flatMap(({ text, tokens }) =>
      Array<number>(text.split(imageText).length - 1).fill(tokens),
    );
    const grids = expansions.flatMap(({ grid }) => (grid ? [grid] : []));
    return { ids: repeatImages(ids, lengths), ...(grids.length > 0 && { grids }) };
  };

  /** Each image token as often as its run is long. */
  const repeatImages = (ids: readonly number[], lengths: readonly number[]): number[] => {
    let run = 0;
    const all = ids.flatMap((id) => (id === imageToken ? Array<number>(lengths[run++] ?? 0).fill(id) : [id]));
    if (run !== lengths.length) throw new LiloraError('BadModel', 'The tokenizer changes image tokens. Correct it.');
    return all;
  };

  return {
    contextLength:
      config.text_config?.max_position_embeddings ?? config.max_position_embeddings ?? family.defaultContext,

    encodePrompt(sample, sizes) {
      special.refuse(sample);
      const last = sample.turns.findLastIndex(({ role }) => role === 'assistant');
      const turns = last < 0 ? sample.turns : sample.turns.slice(0, last);
      const prompt = chat(turns, true, sample);
      droppedBy(chat, sample, turns, prompt, false).refuse();
      const { ids, ...rest } = encode(prompt, sample.images, sizes, sample.id);
      const { id, images } = sample;
      const references = sample.references.map(literal);
      return { id, inputIds: Int32Array.from(ids), labels: null, images, references, ...rest };
    },

    encodeTraining(sample, sizes) {
      special.refuse(sample);
      const { id, turns, images } = sample;
      const rendered = chat(turns, false, sample);
      const dropped = droppedBy(chat, sample, turns, rendered, true);
      dropped.refuse();
      const { ids, ...rest } = encode(endOf(rendered, ends), images, sizes, id);
      const labels = new Int32Array(ids.length).fill(-100);
      const learned = turns.flatMap(({ role, loss }, k) => (role === 'assistant' && loss !== false ? [k] : []));
      if (learned.length === 0)
        throw new Untrainable(`Sample ${id}: no turn carries loss. Add an answer to learn, or leave the sample out.`);
      for (const k of learned) {
        // Where the answer stands is the template's business: it lies between the prompt for it and the text with it.
        const start = prefixLength(sample, sizes, ids, chat(turns.slice(0, k), true, sample));
        const withIt = () => prefixLength(sample, sizes, ids, chat(turns.slice(0, k + 1), false, sample).trimEnd());
        // A template may write its last turn in another way than earlier ones: then the answer goes as far as its end token.
        const end = k === turns.length - 1 ? ids.length : (withIt() ?? afterEnd(ids, start ?? 0));
        if (start === null || end === null)
          throw new Untrainable(
            `Sample ${id}: the chat template or the tokenizer changes the prompt when an answer follows, so that its tokens cannot be told apart.`,
          );
        if (end <= start)
          throw new Untrainable(
            `Sample ${id}: no token of the answer in turn ${k + 1} carries loss. Write another answer, or correct the chat template.`,
          );
        for (let i = start; i < end; i++) if (ids[i] !== imageToken) labels[i] = ids[i]!;
      }
      dropped.refuseAnswers();
      const references = sample.references.map(literal);
      return { id, inputIds: Int32Array.from(ids), labels, images, references, ...rest };
    },

    encodeRaw(prompt, images, sizes) {
      const marked = prompt.replaceAll(IMAGE_MARKER, family.raw ?? family.marker);
      const { ids, ...rest } = encode(marked, images, sizes, 'prompt');
      return { id: 'prompt', inputIds: Int32Array.from(ids), labels: null, images, references: [], ...rest };
    },

    countMarkers: (prompt) =>
      [...new Set([IMAGE_MARKER, family.marker])].reduce((count, marker) => count + prompt.split(marker).length - 1, 0),
    spans: (sample) => spansOf(sample, tokenizer, imageToken),
    decode: (ids, own = false) => tokenizer.decode(ids, own ? special.own : undefined),
    pixels: async (encoded) => family.pixels(await decodeImage(encoded, 'image')),
  };

  /** Tokens of the text that ends there; null where it is no prefix of the whole conversation's tokens. */
  function prefixLength(sample: Sample, sizes: ImageSizes, ids: readonly number[], prefix: string): number | null {
    const seen = prefix.split(family.marker).length - 1;
    const { ids: head } = encode(prefix, sample.images.slice(0, seen), sizes, sample.id);
    return head.every((id, i) => id === ids[i]) ? head.length : null;
  }

  function afterEnd(ids: readonly number[], start: number): number | null {
    const at = ids.findIndex((id, i) => i >= start && ends.includes(tokenizer.textOf(id) ?? ''));
    return at < 0 ? null : at + 1;
  }
}

/** Generation must learn to stop: where the template does not end an answer, the first end token follows its last word. */
function endOf(rendered: string, ends: readonly string[]): string {
  const text = rendered.trimEnd();
  return ends.some((end) => text.endsWith(end)) ? text : `${text}${ends[0]}`;
}

/** Texts of the tokens that end generation: the tokenizer's own, then those that the model's files name. */
async function endTexts(folder: string, tokenizer: Tokens): Promise<string[]> {
  const schema = z.looseObject({ eos_token_id: tokenIds });
  const file = 'generation_config.json';
  const generation = check(schema, (await readJson(folder, file, true)) ?? {}, file);
  const named = [generation.eos_token_id ?? []].flat().flatMap((id) => tokenizer.textOf(id) ?? []);
  const own = tokenizer.names['eos_token'];
  const ends = [...(own !== undefined && tokenizer.idOf(own) !== undefined ? [own] : []), ...named];
  if (ends.length > 0) return ends;
  throw new LiloraError(
    'BadModel',
    'tokenizer_config.json names no eos_token that the tokenizer knows. Correct the file.',
  );
}

async function familyFiles(
  folder: string,
  config: unknown,
  imageText: string,
  tokenizer: Tokens,
): Promise<FamilyFiles> {
  const file = 'processor_config.json';
  const processor = ((await readJson(folder, file, true)) ?? {}) as { image_processor?: unknown };
  const own = await readJson(folder, 'preprocessor_config.json', true);
  if (own === undefined && processor.image_processor == null)
    throw new LiloraError('BadModel', `${folder} has neither preprocessor_config.json nor ${file}. Add what it lacks.`);
  // Settings of the image processor stand within the processor's, or have a file of their own; the first count.
  const nested = processor.image_processor != null;
  const settings = nested
    ? { value: processor.image_processor, file: `${file}: image_processor` }
    : { value: own, file: 'preprocessor_config.json' };
  return {
    config,
    processor,
    settings,
    imageText,
    tokenNamed: (name) => tokenizer.names[name],
    textOf: tokenizer.textOf,
  };
}

async function readJson(folder: string, name: string, optional = false): Promise<unknown> {
  const bytes = await readFile(join(folder, name)).catch(() => null);
  if (bytes) return parseJson(bytes, name, { errorName: 'BadModel', anyKeys: true, nonFinite: true });
  if (optional) return undefined;
  throw new LiloraError('BadModel', `${join(folder, name)} does not exist. Name a Hugging Face model folder.`);
}
