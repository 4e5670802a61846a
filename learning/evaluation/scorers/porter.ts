/**
 * Porter's stemmer (Program 14.3, 1980) with the extensions of NLTK: `PorterStemmer()` of nltk, the same stems. A letter
 * is a code point; all but a, e, i, o, u and some y are consonants, digits and other scripts too.
 */
const IRREGULAR = new Map(
  Object.entries({
    sky: ['sky', 'skies'],
    die: ['dying'],
    lie: ['lying'],
    tie: ['tying'],
    news: ['news'],
    inning: ['innings', 'inning'],
    outing: ['outings', 'outing'],
    canning: ['cannings', 'canning'],
    howe: ['howe'],
    proceed: ['proceed'],
    exceed: ['exceed'],
    succeed: ['succeed'],
  }).flatMap(([stem, forms]) => forms.map((form) => [form, stem])),
);

/** Of every letter, `c` for a consonant or `v` for a vowel. */
function kinds(word: string): string {
  let all = '';
  for (const letter of word) {
    const vowel = 'aeiou'.includes(letter) || (letter === 'y' && all.endsWith('c'));
    all += vowel ? 'v' : 'c';
  }
  return all;
}

/** Porter's m: how often a consonant follows a vowel. */
const measure = (stem: string) => kinds(stem).split('vc').length - 1;

const endsDouble = (word: string) => {
  const letters = [...word];
  return letters.length >= 2 && letters.at(-1) === letters.at(-2) && kinds(word).endsWith('c');
};

/** Porter's *o, and NLTK's: words of a vowel and a consonant. */
const endsShort = (word: string) => {
  const all = kinds(word);
  return (all.endsWith('cvc') && !/[wxy]$/.test(word)) || all === 'vc';
};

/** What a word must be before its ending for the rule to hold. */
type When = (stem: string) => boolean;
type Rule = readonly [ending: string, replacement: string, when?: When];

/** The first rule whose ending the word has decides, whether its condition holds or not. */
function byRules(word: string, rules: readonly Rule[]): string {
  const rule = rules.find(([ending]) => word.endsWith(ending));
  if (!rule) return word;
  const [ending, replacement, when] = rule;
  const stem = word.slice(0, word.length - ending.length);
  return !when || when(stem) ? stem + replacement : word;
}

const some: When = (stem) => measure(stem) > 0;
const several: When = (stem) => measure(stem) > 1;
const rules = (when: When, endings: string): Rule[] =>
  endings.split(' ').map((rule) => {
    const [ending, replacement = ''] = rule.split('>');
    return [ending!, replacement, when];
  });

const PLURALS: Rule[] = [
  ['sses', 'ss'],
  ['ies', 'i'],
  ['ss', 'ss'],
  ['s', ''],
];
const STEP2: Rule[] = [
  ...rules(some, 'ational>ate tional>tion enci>ence anci>ance izer>ize bli>ble alli>al entli>ent eli>e ousli>ous'),
  ...rules(some, 'ization>ize ation>ate ator>ate alism>al iveness>ive fulness>ful ousness>ous aliti>al iviti>ive'),
  ...rules(some, 'biliti>ble fulli>ful'),
  ['logi', 'log', (stem) => measure(`${stem}l`) > 0],
];
const STEP3 = rules(some, 'icate>ic ative alize>al iciti>ic ical>ic ful ness');
const STEP4: Rule[] = [
  ...rules(several, 'al ance ence er ic able ible ant ement ment ent'),
  ['ion', '', (stem) => several(stem) && /[st]$/.test(stem)],
  ...rules(several, 'ou ism ate iti ous ive ize'),
];

function withoutPlural(word: string): string {
  return word.endsWith('ies') && [...word].length === 4 ? word.slice(0, -1) : byRules(word, PLURALS);
}

function withoutPast(word: string): string {
  if (word.endsWith('ied')) return word.slice(0, [...word].length === 4 ? -1 : -2);
  if (word.endsWith('eed')) return some(word.slice(0, -3)) ? word.slice(0, -1) : word;
  const ending = ['ed', 'ing'].find((each) => word.endsWith(each) && kinds(word.slice(0, -each.length)).includes('v'));
  if (!ending) return word;
  const stem = word.slice(0, -ending.length);
  if (/(?:at|bl|iz)$/.test(stem)) return `${stem}e`;
  if (endsDouble(stem)) return /[lsz]$/.test(stem) ? stem : [...stem].slice(0, -1).join('');
  return measure(stem) === 1 && endsShort(stem) ? `${stem}e` : stem;
}

const withoutY = (word: string) =>
  byRules(word, [['y', 'i', (stem) => [...stem].length > 1 && kinds(stem).endsWith('c')]]);

function secondStep(word: string): string {
  return word.endsWith('alli') && some(word.slice(0, -4)) ? secondStep(word.slice(0, -2)) : byRules(word, STEP2);
}

function withoutE(word: string): string {
  if (!word.endsWith('e')) return word;
  const stem = word.slice(0, -1);
  const m = measure(stem);
  return m > 1 || (m === 1 && !endsShort(stem)) ? stem : word;
}

const withoutDouble = (word: string) => (word.endsWith('ll') && several(word.slice(0, -1)) ? word.slice(0, -1) : word);

/** The stem of a word; in lower case. */
export function porterStem(word: string): string {
  const lower = word.toLowerCase();
  const irregular = IRREGULAR.get(lower);
  if (irregular !== undefined) return irregular;
  if ([...word].length <= 2) return lower;
  const steps = [
    withoutPlural,
    withoutPast,
    withoutY,
    secondStep,
    (stem: string) => byRules(stem, STEP3),
    (stem: string) => byRules(stem, STEP4),
    withoutE,
    withoutDouble,
  ];
  return steps.reduce((stem, step) => step(stem), lower);
}
