/**
 * Normalisation of answers as M4C's TextVQA evaluation does it, which most published numbers use: lower case, no
 * punctuation, digits for number words, no articles, contractions with their apostrophe.
 */
const NUMBERS = ['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten'];
const DIGITS = new Map([['none', '0'], ...NUMBERS.map((word, i): [string, string] => [word, String(i)])]);
const ARTICLES = new Set(['a', 'an', 'the']);
const MARKS = [...';/[]"{}()=+\\_-><@`,?!'];

/**
 * Contractions that people write with an apostrophe left out. Not the whole of English: what is missing (im, ill, shed)
 * is missing there too.
 */
const CONTRACTIONS = (
  "ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've he's how'd how'll " +
  "how's isn't it'd it'd've it'll ma'am might've mightn't mightn't've must've mustn't needn't not've o'clock oughtn't 'ow's'at shan't " +
  "she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll someone's " +
  "something'd something'd've something'll that's there'd there'd've there're there's they'd they'd've they'll they're they've 'twas " +
  "wasn't we'd've we've weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's who've " +
  "why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've"
).split(' ');

/** Every contraction with one apostrophe left out, and how it is written. The last entry is a slip that is part of the definition. */
const WRITTEN = new Map([
  ...CONTRACTIONS.flatMap((word) =>
    [...word.matchAll(/'/g)].map(({ index }): [string, string] => [word.slice(0, index) + word.slice(index + 1), word]),
  ),
  ["somebody'd", 'somebodyd'],
]);

/** The answer in the form in which answers are compared. */
export function vqaText(answer: string): string {
  const lower = answer
    .toLowerCase()
    .replaceAll(/[,?]/g, '')
    .replaceAll("'s", " 's")
    .replaceAll(/[\n\t]/g, ' ')
    .trim();
  // A mark at the edge of a word vanishes wherever it stands; one that only joins words becomes a space.
  const bare = MARKS.reduce((text, mark) => {
    const atEdge = lower.includes(`${mark} `) || lower.includes(` ${mark}`);
    return text.replaceAll(mark, atEdge ? '' : ' ');
  }, lower);
  return bare
    .replaceAll(/\.(?!\d)/g, '')
    .split(/\s+/)
    .map((word) => DIGITS.get(word) ?? word)
    .filter((word) => word !== '' && !ARTICLES.has(word))
    .map((word) => WRITTEN.get(word) ?? word)
    .join(' ');
}
