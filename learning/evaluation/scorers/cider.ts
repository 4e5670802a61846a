/**
 * CIDEr-D (Vedantam et al., CVPR 2015, arXiv 1411.5726): n-grams of one to four words, weighted by how rare they are in
 * the references of the test split, clipped, with a Gaussian penalty on length. Same numbers as pycocoevalcap's `Cider`
 * on the same words.
 */
const N = 4;
const SIGMA = 6;

/**
 * Lower-case words without punctuation, contractions in two parts ("isn't" is "is n't"), as the PTB tokenizer that
 * caption scores are published with cuts ordinary captions. Not the same: brackets vanish (there they become words), and
 * abbreviations with full stops ("u.s.") and slang ("gonna") are not known.
 */
export function captionWords(text: string): string[] {
  const parts = text
    .toLowerCase()
    .replaceAll('’', "'")
    .replaceAll(/(?<=\p{L})n't(?!\p{L})/gu, " n't")
    .replaceAll(/(?<=[\p{L}\p{N}])'(?=(?:s|m|d|ll|re|ve)(?![\p{L}\p{N}]))/gu, " '")
    .replaceAll(/(?<!\p{L})cannot(?!\p{L})/gu, 'can not');
  const words =
    /n't(?!\p{L})|'(?:s|m|d|ll|re|ve)(?!\p{L})|\p{N}+(?:[.,:]\p{N}+)+|[\p{L}\p{N}]+(?:(?:-|(?<=\p{L})'(?=\p{L}))[\p{L}\p{N}]+)*|[$%&/]/gu;
  return parts.match(words) ?? [];
}

/** Words as the released scripts of the benchmark take them: between spaces, as they are written. */
export const spacedWords = (text: string) => text.split(/\s+/).filter(Boolean);

type Grams = ReadonlyMap<string, number>;

function grams(words: readonly string[]): Grams {
  const counts = new Map<string, number>();
  for (let n = 1; n <= N; n++)
    for (let i = 0; i + n <= words.length; i++) {
      const gram = words.slice(i, i + n).join(' ');
      counts.set(gram, (counts.get(gram) ?? 0) + 1);
    }
  return counts;
}

const order = (gram: string) => gram.split(' ').length;

interface Vector {
  readonly weights: ReadonlyMap<string, number>;
  /** Norm of the weights of each order. */
  readonly norms: readonly number[];
  readonly length: number;
}

/** A caption and what it is compared with. */
interface Caption {
  readonly text: string;
  readonly references: readonly string[];
}

/**
 * CIDEr-D of every caption against each of its references. All 0 for one caption alone: no word is rare then.
 * @returns per caption, per reference; 1 is what is usually printed as 100 (an identical caption may reach 10)
 */
export function cider(captions: readonly Caption[], wordsOf: (text: string) => string[] = captionWords): number[][] {
  const references = captions.map((caption) => caption.references.map((reference) => grams(wordsOf(reference))));
  const documents = new Map<string, number>();
  for (const each of references)
    for (const gram of new Set(each.flatMap((counts) => [...counts.keys()])))
      documents.set(gram, (documents.get(gram) ?? 0) + 1);
  const total = Math.log(captions.length);

  const vector = (counts: Grams): Vector => {
    const weights = new Map<string, number>();
    const squares = new Array<number>(N).fill(0);
    let length = 0;
    for (const [gram, count] of counts) {
      const weight = count * (total - Math.log(Math.max(1, documents.get(gram) ?? 0)));
      weights.set(gram, weight);
      squares[order(gram) - 1]! += weight * weight;
      if (order(gram) === 2) length += count; // as the reference code counts it
    }
    return { weights, norms: squares.map(Math.sqrt), length };
  };

  const similar = (caption: Vector, reference: Vector): number => {
    const sums = new Array<number>(N).fill(0);
    for (const [gram, weight] of caption.weights) {
      const other = reference.weights.get(gram) ?? 0;
      sums[order(gram) - 1]! += Math.min(weight, other) * other;
    }
    const penalty = Math.exp(-((caption.length - reference.length) ** 2) / (2 * SIGMA * SIGMA));
    const each = sums.map((sum, n) => {
      const norms = caption.norms[n]! * reference.norms[n]!;
      return norms === 0 ? 0 : (sum / norms) * penalty;
    });
    return (10 * each.reduce((a, b) => a + b, 0)) / N;
  };

  return captions.map(({ text }, i) => {
    const caption = vector(grams(wordsOf(text)));
    return references[i]!.map((reference) => similar(caption, vector(reference)));
  });
}

/**
 * What the released scripts of the benchmark print for captions (read in SMoLoRA's `eval_flickr30k_cider.py`). For each image
 * the reference that suits the answer best is chosen, rareness counted within the references of that image. Then these
 * are scored as if they were the captions and the answers the references, so rare is what few answers say; words are
 * what stands between spaces, case and punctuation included.
 * @returns per caption
 */
export function releasedCider(captions: readonly Caption[]): number[] {
  const chosen = captions.map(({ text, references }) => {
    const scores = cider(
      references.map((reference) => ({ text, references: [reference] })),
      spacedWords,
    ).map(([score]) => score!);
    return { text: references[scores.indexOf(Math.max(...scores))]!, references: [text] };
  });
  return cider(chosen, spacedWords).map(([score]) => score!);
}
