import { LiloraError } from '../../core/errors.ts';
import { anls } from './scorers/anls.ts';
import { corpusBleu, sentenceBleu } from './scorers/bleu.ts';
import { type Box, boxOf, overlap, releasedBox } from './scorers/box.ts';
import { cider, releasedCider, spacedWords } from './scorers/cider.ts';
import { chosenLetter, releasedLetter } from './scorers/letter.ts';
import { meteorStem } from './scorers/meteor.ts';
import { rougeL } from './scorers/rouge.ts';
import { each, oneBox, oneLetter, oneSentence, plain, type Scorer, shortAnswer } from './scorers/scorer.ts';
import { vqaText } from './scorers/vqa-text.ts';

const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;

const contains = (text: string, reference: string) => Number(text.includes(reference) || reference.includes(text));
const hits = (box: Box | null, truth: Box | null) => box !== null && truth !== null && overlap(box, truth) > 0.5;

/** One line per scorer. `…-paper` variants repeat what the released scripts of the benchmark do (methods.md §15.6). */
const SCORERS: readonly Scorer[] = [
  {
    name: 'option-letter',
    version: 1,
    title: 'Chosen option letter; no letter is wrong',
    score: each((text, references) => {
      const letter = chosenLetter(text);
      return Number(letter !== null && references.some((reference) => chosenLetter(reference) === letter));
    }),
    follows: oneLetter,
  },
  {
    name: 'option-letter-paper',
    version: 1,
    title: 'Option letter A to E as the benchmark reads it: else the first character that stands alone, "a" among them',
    score: each((text, references) => {
      const letter = releasedLetter(text);
      return Number(references.some((reference) => reference.trim() === letter));
    }),
    follows: oneLetter,
  },
  {
    name: 'exact',
    version: 1,
    title: 'Equal to a reference, ignoring case and outer space',
    score: each((text, references) => Number(references.some((reference) => plain(text) === plain(reference)))),
    follows: shortAnswer,
  },
  {
    name: 'exact-paper',
    version: 1,
    title: 'Equal to the first reference alone, as the benchmark scores VQAv2 and VizWiz',
    score: each((text, references) => Number(plain(text) === plain(references[0]!))),
    follows: shortAnswer,
  },
  {
    name: 'exact-ocrvqa',
    version: 1,
    title: 'As CoIN scores OCR-VQA: equal to the first reference, and "Unanswerable" is always wrong',
    score: each((text, references) => Number(!text.includes('Unanswerable') && plain(text) === plain(references[0]!))),
    follows: shortAnswer,
  },
  {
    name: 'gqa',
    version: 1,
    title: 'As GQA is scored: equal to the first reference, without full stops at the end',
    score: each((text, references) => Number(plain(text.trim().replace(/\.+$/, '')) === plain(references[0]!))),
    follows: shortAnswer,
  },
  {
    name: 'containment',
    version: 1,
    title: 'A reference within the answer, or the answer within a reference, ignoring case; an empty answer is wrong',
    score: each((text, references) => {
      const answer = plain(text);
      const related = (reference: string) =>
        reference !== '' && (reference.includes(answer) || answer.includes(reference));
      return Number(answer !== '' && references.some((reference) => related(plain(reference))));
    }),
    follows: shortAnswer,
  },
  {
    name: 'containment-paper',
    version: 1,
    title:
      'As the CVIT benchmark scores ImageNet: the first reference within the answer or around it; an empty one is right',
    score: each((text, references) => contains(text.toLowerCase(), references[0]!.toLowerCase())),
    follows: shortAnswer,
  },
  {
    name: 'containment-coin',
    version: 1,
    title: 'The same as CoIN scores ImageNet: capitals count',
    score: each((text, references) => contains(text, references[0]!)),
    follows: shortAnswer,
  },
  {
    name: 'box',
    version: 1,
    title: 'A box [left, top, right, bottom] that overlaps that of a reference by more than half of their union',
    score: each((text, references) => Number(references.some((reference) => hits(boxOf(text), boxOf(reference))))),
    follows: oneBox,
  },
  {
    name: 'box-coin',
    version: 1,
    title: 'The same as CoIN reads the answer: without its first and last character',
    score: each((text, references) => Number(hits(releasedBox(text), boxOf(references[0]!)))),
    follows: oneBox,
  },
  {
    name: 'vqa',
    version: 1,
    title:
      'VQA soft accuracy: mean over annotators of min(1, matches among the others / 3); with fewer than four, any match counts',
    score: each((text, references) => {
      const answer = vqaText(text);
      const matches = references.map((reference) => Number(vqaText(reference) === answer));
      const count = matches.reduce((a, b) => a + b, 0);
      if (references.length < 4) return Number(count > 0);
      return mean(matches.map((match) => Math.min(1, (count - match) / 3)));
    }),
    follows: shortAnswer,
  },
  {
    name: 'cider',
    version: 1,
    title: 'CIDEr-D × 100 against all references',
    unbounded: true,
    score: (answers) => cider(answers).map((scores) => 100 * mean(scores)),
    follows: oneSentence,
  },
  {
    name: 'cider-relative',
    version: 1,
    title:
      'CIDEr-D as a share of what the first reference itself would get, at most 100: on the scale of the other scores',
    score: (answers) => {
      const best = cider(answers.map(({ references }) => ({ text: references[0]!, references })));
      return cider(answers).map((scores, i) => 100 * Math.min(1, mean(scores) / Math.max(mean(best[i]!), 1e-9)));
    },
    follows: oneSentence,
  },
  {
    name: 'cider-paper',
    version: 1,
    title:
      'CIDEr-D × 100 against the best of the references, as the benchmark scores Flickr30k (higher than the standard)',
    unbounded: true,
    score: (answers) => releasedCider(answers).map((score) => 100 * score),
    follows: oneSentence,
  },
  {
    name: 'cider-textcaps',
    version: 1,
    title: 'CIDEr-D × 100 against all references, words as they are written, as the benchmark scores TextCaps',
    unbounded: true,
    score: (answers) => cider(answers, spacedWords).map((scores) => 100 * mean(scores)),
    follows: oneSentence,
  },
  {
    name: 'rouge-l',
    version: 1,
    title:
      'ROUGE-L, the F-measure of rouge-score without stemmer: words of a to z and digits; of the nearest reference',
    score: each((text, references) => rougeL(text, references)),
    follows: oneSentence,
  },
  {
    name: 'rouge-l-stem',
    version: 1,
    title: 'ROUGE-L as rouge-score gives it with its stemmer',
    score: each((text, references) => rougeL(text, references, true)),
    follows: oneSentence,
  },
  {
    name: 'bleu',
    version: 1,
    title:
      'BLEU of all answers together, as sacrebleu gives it (13a, exponential smoothing); single answers by sentence',
    score: (answers) => answers.map(sentenceBleu),
    overall: corpusBleu,
    follows: oneSentence,
  },
  {
    name: 'meteor-stem',
    version: 1,
    title: 'METEOR of 2007 as NLTK computes it, by equal words and stems, without synonyms: not METEOR 1.5',
    score: each(meteorStem),
    follows: oneSentence,
  },
  {
    name: 'anls',
    version: 1,
    title: 'ANLS as DocVQA is scored: similarity to the nearest reference by letters, nothing below a half',
    score: each(anls),
    follows: shortAnswer,
  },
];

export const scorerNames = (): string[] => SCORERS.map(({ name }) => name);

/** The scorer of a dataset's `metric`. */
export function scorerNamed(name: string): Scorer {
  const found = SCORERS.find((scorer) => scorer.name === name);
  if (!found)
    throw new LiloraError('BadDataset', `There is no metric "${name}". Choose from ${scorerNames().join(', ')}.`);
  return found;
}
