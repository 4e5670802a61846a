/**
 * CIDEr-D (Vedantam et al., CVPR 2015, arXiv 1411.5726): n-grams of one to four words, weighted by how rare they are in
 * the references of the test split, clipped, with a Gaussian penalty on length. Same numbers as pycocoevalcap's `Cider`
 * on the same words.
 */
const N = 4;
const SIGMA = 6;

/** Lower-case words without punctuation. PTB tokenization differs only in contractions, which it splits. */
export function captionWords(text: string): string[] {
  return text.toLowerCase().match(/[\p{L}\p{N}]+(?:['’-][\p{L}\p{N}]+)*/gu) ?? [];
}

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

/**
 * CIDEr-D of every caption against each of its references.
 * @returns per caption, per reference; 1 is what is usually printed as 100 (an identical caption may reach 10)
 */
export function cider(captions: ReadonlyArray<{ text: string; references: readonly string[] }>): number[][] {
  const references = captions.map((caption) => caption.references.map((reference) => grams(captionWords(reference))));
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
    const caption = vector(grams(captionWords(text)));
    return references[i]!.map((reference) => similar(caption, vector(reference)));
  });
}
