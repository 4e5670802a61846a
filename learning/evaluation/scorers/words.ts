/** What Python's `str.split()` takes as space: the four separators of ASCII too. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are space to Python
const SPACES = /[\p{White_Space}\x1c-\x1f]+/u;

/** Words as Python's `str.split()` cuts them. */
export const pythonWords = (text: string): string[] => text.split(SPACES).filter(Boolean);

/** As Python's `str.rstrip()`. */
function withoutEnd(text: string): string {
  let end = text.length;
  while (end > 0 && SPACES.test(text[end - 1]!)) end--;
  return text.slice(0, end);
}

type Rule = readonly [pattern: RegExp, replacement: string];

const apply = (rules: readonly Rule[], text: string) =>
  rules.reduce((result, [pattern, replacement]) => result.replace(pattern, replacement), text);

/** The rules of `mteval-v13a.pl`, in its order. */
const MTEVAL: readonly Rule[] = [
  [/<skipped>/g, ''],
  [/-\n/g, ''],
  [/\n/g, ' '],
  [/&quot;/g, '"'],
  [/&amp;/g, '&'],
  [/&lt;/g, '<'],
  [/&gt;/g, '>'],
  [/^|$/g, ' '],
  [/[{-~[-` -&(-+:-@/]/g, ' $& '],
  [/([^0-9])([.,])/gu, '$1 $2 '],
  [/([.,])([^0-9])/gu, ' $1 $2'],
  [/([0-9])(-)/g, '$1 $2 '],
];

/** Words as WMT's `mteval-v13a` cuts them, sacrebleu's tokenizer `13a`: punctuation apart, case kept. */
export const mtevalWords = (text: string): string[] => pythonWords(apply(MTEVAL, withoutEnd(text)));

/** Letters of a word: to Python's `regex`, which NLTK uses, and to its `re`, which it uses for contractions. */
const LETTER = String.raw`[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]`;
const START = String.raw`(?<![\p{L}\p{N}_])`;
const END = String.raw`(?![\p{L}\p{N}_])`;

/** The rules of NLTK's `NLTKWordTokenizer`, in its order. */
const TREEBANK: readonly Rule[] = [
  // Quotes that open.
  [/[«“‘„]|`+/gu, ' $& '],
  [/^"/u, '``'],
  [/``/gu, ' $& '],
  [/([ ([{<])("|'{2})/gu, '$1 `` '],
  [new RegExp(`(?<!${LETTER})'(?!(?:re|ve|ll|m|t|s|d|n)(?!${LETTER}))(?=${LETTER})`, 'giu'), '$& '],
  // Punctuation; a full stop only at the very end.
  [/([^.])(\.)(?=([\])}>"'»”’ ]*))\3\p{White_Space}*$/gu, '$1 $2 $3 '],
  [/([:,])(\P{Nd})/gu, ' $1 $2'],
  [/[:,](?=\n?$)/gu, ' $& '],
  [/\.{2,}/gu, ' $& '],
  [/[;@#$%&]/gu, ' $& '],
  [/[\u2012-\u2015]/gu, ' $& '],
  [/([^.])(\.)([\])}>"']*)\p{White_Space}*$/gu, '$1 $2$3 '],
  [/[?!]/gu, ' $& '],
  [/([^'])' /gu, "$1 ' "],
  [/[*]/gu, ' $& '],
  [/[\][(){}<>]/gu, ' $& '],
  [/--/gu, ' -- '],
  [/^|$/g, ' '],
  // Quotes that close, and contractions.
  [/[»”’]/gu, ' $& '],
  [/''/gu, ' $& '],
  [/"/gu, " '' "],
  [/\p{White_Space}+/gu, ' '],
  [/([^' ])('[sS]|'[mM]|'[dD]|') /gu, '$1 $2 '],
  [/([^' ])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T) /gu, '$1 $2 '],
  ...['(can)(not)', "(d)('ye)", '(gim)(me)', '(gon)(na)', '(got)(ta)', '(lem)(me)', "(more)('n)"].map(
    (both): Rule => [new RegExp(`${START}${both}${END}`, 'giu'), ' $1 $2 '],
  ),
  [new RegExp(`${START}(wan)(na)(?=[\\p{White_Space}\\x1c-\\x1f])`, 'giu'), ' $1 $2 '],
  [new RegExp(` ('t)(is|was)${END}`, 'giu'), ' $1 $2 '],
];

/** Words as NLTK's `NLTKWordTokenizer` cuts them: `word_tokenize(text, preserve_line=True)`. Case is kept. */
export const treebankWords = (text: string): string[] => pythonWords(apply(TREEBANK, text));
