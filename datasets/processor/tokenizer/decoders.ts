import { tokensToBytes } from './byte-level.ts';
import { BPEDecoder, WordPieceDecoder } from './library.ts';
import { patternOf, type Step, stepsOf, textOf, unknownStep } from './steps.ts';

/** Tokens towards text, step by step. */
export type Decoder = (tokens: readonly string[]) => string[];

/** The decoder of `tokenizer.json` as the Rust library computes it; `BadModel` for one that is not known. */
export function openDecoder(step: Step | null): Decoder {
  if (step === null) return (tokens) => [tokens.join(' ')];
  switch (step.type) {
    case 'Sequence': {
      const steps = stepsOf(step, 'decoders').map(openDecoder);
      return (tokens) => steps.reduce<string[]>((sofar, next) => next(sofar), [...tokens]);
    }
    case 'ByteLevel':
      return (tokens) => [new TextDecoder('utf-8', { ignoreBOM: true }).decode(tokensToBytes(tokens))];
    case 'ByteFallback':
      return byteFallback;
    case 'Fuse':
      return (tokens) => [tokens.join('')];
    case 'Replace': {
      const [pattern, content] = [patternOf(step), textOf(step, 'content')];
      return (tokens) => tokens.map((token) => token.replaceAll(pattern, () => content));
    }
    case 'Strip':
      return strip(step);
    case 'Metaspace':
      return metaspace(step);
    case 'WordPiece':
      return (tokens) => new WordPieceDecoder(step).decode_chain([...tokens]);
    case 'BPEDecoder':
      return (tokens) => new BPEDecoder(step).decode_chain([...tokens]);
    default:
      throw unknownStep('decoder', step);
  }
}

/** Runs of byte tokens (`<0x41>`) become text; a run that is no UTF-8 becomes one U+FFFD per byte. */
function byteFallback(tokens: readonly string[]): string[] {
  const texts: string[] = [];
  let bytes: number[] = [];
  const flush = () => {
    if (bytes.length === 0) return;
    try {
      texts.push(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes)));
    } catch {
      texts.push('\ufffd'.repeat(bytes.length));
    }
    bytes = [];
  };
  for (const token of tokens) {
    const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(token)?.[1];
    if (byte !== undefined) bytes.push(Number.parseInt(byte, 16));
    else {
      flush();
      texts.push(token);
    }
  }
  flush();
  return texts;
}

/** Takes up to `start` and `stop` of one letter off the ends of each token. */
function strip(step: Step): Decoder {
  const content = textOf(step, 'content');
  const [start, stop] = [Number(step['start'] ?? 0), Number(step['stop'] ?? 0)];
  return (tokens) =>
    tokens.map((token) => {
      const letters = Array.from(token);
      let [from, to] = [0, letters.length];
      while (from < start && letters[from] === content) from++;
      while (letters.length - to < stop && to > from && letters[to - 1] === content) to--;
      return letters.slice(from, to).join('');
    });
}

/** The mark of a space becomes a space; the first token loses it, where encoding put one before it. */
function metaspace(step: Step): Decoder {
  const replacement = textOf(step, 'replacement', '▁');
  const kept = textOf(step, 'prepend_scheme', step['add_prefix_space'] === false ? 'never' : 'always') === 'never';
  return (tokens) => tokens.map((token, i) => token.replaceAll(replacement, i === 0 && !kept ? '' : ' '));
}
