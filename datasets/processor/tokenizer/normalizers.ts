import { patternOf, SPACE, type Step, stepsOf, textOf, unknownStep } from './steps.ts';

/** A text as the vocabulary has it. */
export type Normalizer = (text: string) => string;

const START = new RegExp(`^${SPACE}+`, 'u');
const END = new RegExp(`${SPACE}+$`, 'u');
const FORMS = ['NFC', 'NFD', 'NFKC', 'NFKD'];

/** The normalizer of `tokenizer.json` as the Rust library computes it; `BadModel` for one that is not known. */
export function openNormalizer(step: Step | null): Normalizer {
  if (step === null) return (text) => text;
  const type = String(step.type);
  if (FORMS.includes(type)) return (text) => text.normalize(type);
  switch (type) {
    case 'Sequence': {
      const steps = stepsOf(step, 'normalizers').map(openNormalizer);
      return (text) => steps.reduce((sofar, next) => next(sofar), text);
    }
    case 'Prepend': {
      const prefix = textOf(step, 'prepend');
      return (text) => (text === '' ? '' : prefix + text);
    }
    case 'Replace': {
      const [pattern, content] = [patternOf(step), textOf(step, 'content')];
      // A function: `$&` in a replacement text would mean something.
      return (text) => text.replaceAll(pattern, () => content);
    }
    case 'Strip': {
      const [left, right] = [step['strip_left'] ?? true, step['strip_right'] ?? true];
      return (text) => {
        const rest = left ? text.replace(START, '') : text;
        return right ? rest.replace(END, '') : rest;
      };
    }
    case 'StripAccents':
      return (text) => text.replaceAll(/\p{M}/gu, '');
    case 'Lowercase':
      // Letter by letter: a final sigma is no other letter.
      return (text) => Array.from(text, (letter) => letter.toLowerCase()).join('');
    default:
      throw unknownStep('normalizer', step);
  }
}
