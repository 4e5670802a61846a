/**
 * Normalisation of answers in VQA evaluation (VQA v2 evaluation code, as M4C's TextVQA evaluation applies it): lower
 * case, no punctuation, digits for number words, no articles, contractions with their apostrophe.
 */
const NUMBERS: Readonly<Record<string, string>> = {
  none: '0',
  zero: '0',
  one: '1',
  two: '2',
  three: '3',
  four: '4',
  five: '5',
  six: '6',
  seven: '7',
  eight: '8',
  nine: '9',
  ten: '10',
};
const ARTICLES = new Set(['a', 'an', 'the']);

/** Contractions that people write without the apostrophe; those that are words of their own (wont, ill, were) stay. */
const CONTRACTIONS: Readonly<Record<string, string>> = Object.fromEntries(
  (
    "ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd how'll how's I'd I'm I've isn't " +
    "it'd it'll let's ma'am might've mightn't must've mustn't needn't not've o'clock oughtn't shan't she's should've shouldn't " +
    "somebody's someone's something's that's there'd there's they'd they'll they're they've wasn't we've weren't what'll what're " +
    "what's what've when's where'd where's where've who'd who'll who's who've why'll why're why's would've wouldn't y'all you'd you'll you're you've"
  )
    .split(' ')
    .map((word) => [word.replaceAll("'", '').toLowerCase(), word.toLowerCase()]),
);

/** The answer in the form in which answers are compared. */
export function vqaText(answer: string): string {
  const bare = answer
    .replaceAll(/[\n\t]/g, ' ')
    .toLowerCase()
    // A comma within a number goes, as do a full stop that is no decimal point and all other marks.
    .replaceAll(/(?<=\d),(?=\d)/g, '')
    .replaceAll(/\.(?!\d)/g, '')
    .replaceAll(/[;/[\]"{}()=+\\_<>@`,?!]|(?<!\w)-|-(?!\w)/g, ' ');
  return bare
    .split(/\s+/)
    .map((word) => NUMBERS[word] ?? word)
    .filter((word) => word !== '' && !ARTICLES.has(word))
    .map((word) => CONTRACTIONS[word] ?? word)
    .join(' ');
}
