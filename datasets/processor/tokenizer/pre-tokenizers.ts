import { LiloraError } from '../../../core/errors.ts';
import { bytesToText } from './byte-level.ts';
import { literally, patternOf, SPACE, type Step, stepsOf, textOf, unknownStep } from './steps.ts';

/**
 * Cuts a text into the pieces that the model's vocabulary is applied to. The library's own pre-tokenizers differ in what
 * is white space, a digit or a word, and know one way of splitting alone.
 * @param first whether the text stands at the very start of what is encoded
 */
export type PreTokenizer = (text: string, first: boolean) => string[];

const WORD = '\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}';
const GPT2 = new RegExp(
  `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^${SPACE}\\p{L}\\p{N}]+|${SPACE}+(?!\\P{White_Space})|${SPACE}+`,
  'gu',
);
const PUNCTUATION = /[\p{P}!-/:-@[-`{-~]/gu;
const NUMERIC = /\p{N}/gu;
const SPACES = new RegExp(SPACE, 'gu');
const WORDS = new RegExp(`[${WORD}]+|[^${WORD}${SPACE}]+`, 'gu');

/** The pre-tokenizer of `tokenizer.json`; `BadModel` for one that is not known. */
export function openPreTokenizer(step: Step | null): PreTokenizer {
  if (step === null) return (text) => [text];
  switch (step.type) {
    case 'Sequence': {
      const steps = stepsOf(step, 'pretokenizers').map(openPreTokenizer);
      return (text, first) =>
        steps.reduce((pieces, next) => pieces.flatMap((piece, i) => next(piece, first && i === 0)), [text]);
    }
    case 'ByteLevel':
      return byteLevel(step);
    case 'Metaspace':
      return metaspace(step);
    case 'Split': {
      const [pattern, behavior] = [patternOf(step), textOf(step, 'behavior')];
      const invert = step['invert'] === true;
      return (text) => split(text, pattern, behavior, invert);
    }
    case 'Digits':
      return (text) => split(text, NUMERIC, step['individual_digits'] === true ? 'Isolated' : 'Contiguous');
    case 'Punctuation': {
      const behavior = textOf(step, 'behavior', 'Isolated');
      return (text) => split(text, PUNCTUATION, behavior);
    }
    case 'Whitespace':
      return (text) => split(text, WORDS, 'Removed', true);
    case 'WhitespaceSplit':
      return (text) => split(text, SPACES, 'Removed');
    case 'BertPreTokenizer':
      return (text) => split(text, SPACES, 'Removed').flatMap((piece) => split(piece, PUNCTUATION, 'Isolated'));
    default:
      throw unknownStep('pre-tokenizer', step);
  }
}

function byteLevel(step: Step): PreTokenizer {
  const prefix = step['add_prefix_space'] === true;
  const cut = step['use_regex'] !== false;
  return (text) => {
    const whole = prefix && !text.startsWith(' ') ? ` ${text}` : text;
    return (cut ? split(whole, GPT2, 'Isolated') : [whole]).map(bytesToText);
  };
}

function metaspace(step: Step): PreTokenizer {
  const replacement = textOf(step, 'replacement', '▁');
  // Older files say add_prefix_space instead.
  const scheme = textOf(step, 'prepend_scheme', step['add_prefix_space'] === false ? 'never' : 'always');
  const pattern = literally(replacement);
  return (text, first) => {
    const replaced = text.replaceAll(' ', () => replacement);
    const prepends = scheme === 'always' || (scheme === 'first' && first);
    const whole = prepends && !replaced.startsWith(replacement) ? replacement + replaced : replaced;
    return step['split'] === false ? [whole] : split(whole, pattern, 'MergedWithNext');
  };
}

/** Matches and what lies between them, joined or left out as `behavior` says (`SplitDelimiterBehavior`). */
function split(text: string, pattern: RegExp, behavior: string, invert = false): string[] {
  const pieces = cut(text, pattern).map(({ piece, match }) => ({ piece, match: match !== invert }));
  switch (behavior.toLowerCase()) {
    case 'isolated':
      return pieces.map(({ piece }) => piece);
    case 'removed':
      return pieces.filter(({ match }) => !match).map(({ piece }) => piece);
    case 'contiguous':
      return joined(pieces, (piece, before) => piece.match === before.match);
    case 'mergedwithprevious':
      return joined(pieces, (piece, before) => piece.match && !before.match);
    case 'mergedwithnext':
      return joined(pieces, (piece, before) => before.match && !piece.match);
    default: {
      const problem = `no support for the behavior ${JSON.stringify(behavior)} of a splitting step`;
      throw new LiloraError('BadModel', `tokenizer.json: ${problem}. Correct the file.`);
    }
  }
}

interface Piece {
  readonly piece: string;
  readonly match: boolean;
}

function cut(text: string, pattern: RegExp): Piece[] {
  const pieces: Piece[] = [];
  let at = 0;
  for (const { 0: match, index } of text.matchAll(pattern)) {
    if (match === '') continue;
    if (index > at) pieces.push({ piece: text.slice(at, index), match: false });
    pieces.push({ piece: match, match: true });
    at = index + match.length;
  }
  if (at < text.length) pieces.push({ piece: text.slice(at), match: false });
  return pieces;
}

function joined(pieces: readonly Piece[], belongs: (piece: Piece, before: Piece) => boolean): string[] {
  const result: string[] = [];
  for (const [i, piece] of pieces.entries()) {
    if (i > 0 && belongs(piece, pieces[i - 1]!)) result.push(result.pop()! + piece.piece);
    else result.push(piece.piece);
  }
  return result;
}
