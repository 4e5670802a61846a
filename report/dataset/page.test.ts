import { describe, expect, it } from 'vitest';
import type { DatasetView } from '../../core/dataset-view.ts';
import { elements } from '../../test/page-elements.ts';
import { NASTY } from '../example-view.ts';
import { escapeHtml } from '../markup.ts';
import { exampleDataset } from './example.ts';
import { datasetPage } from './page.ts';

/** The example with one text in every place where text of others can be. */
function filled(text: string): DatasetView {
  const fill = (value: unknown, key = ''): unknown => {
    if (typeof value === 'string')
      return key === 'kind' && ['text', 'special', 'image', 'near'].includes(value) ? value : text;
    if (Array.isArray(value)) return value.map((each) => fill(each, key));
    if (value === null || typeof value !== 'object') return value;
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, fill(each, name)]));
  };
  return fill({ ...exampleDataset(), problems: [{ text: 'x', sample: 'x' }, { text: 'x' }] }) as DatasetView;
}
const textOf = (page: string) =>
  page
    .replace(/<style>[\s\S]*?<\/style>/, '')
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ');

describe('the page of a dataset', () => {
  it('is well formed and needs nothing from outside', () => {
    const page = datasetPage(exampleDataset());
    const found = elements(page);
    const active = ['script', 'link', 'iframe', 'object', 'form', 'base'];
    expect(found.filter(({ name }) => active.includes(name))).toEqual([]);
    for (const { attributes } of found)
      for (const [name, value] of Object.entries(attributes)) {
        expect(name).not.toMatch(/^on/i);
        if (name === 'src' || name === 'href') expect(value).toMatch(/^data:image\//);
      }
    expect(page).not.toMatch(/url\(|@import/);
  });

  it.each(NASTY)('shows hostile text as text: %j', (text) => {
    const page = datasetPage(filled(text));
    expect(elements(page).map(({ name }) => name)).toEqual(elements(datasetPage(filled('x'))).map(({ name }) => name));
    expect(page).toContain(escapeHtml(text));
    // biome-ignore lint/suspicious/noControlCharactersInRegex: none may be left
    expect(page).not.toMatch(/[\u0000\u001b\u202e]/);
  });

  it('shows what is there', () => {
    const text = textOf(datasetPage(exampleDataset()));
    for (const fact of [
      'dogs ✓ a good dataset',
      'org/model , reads 4,096 tokens',
      'train 40 80 40 38 2 31 400',
      'test 10 80 40 38 2 – –',
      'train, conversations : median 31, 95 % up to 90, at most 400 tokens',
      'Different answers: train 2, test more than 1. Of the 40 answers of other splits 3 never occur in training.',
      'Beagle 30 75.0 % 2 5.0 %',
      '38 different pictures, 120.6 KiB; 2 different sizes',
      '640 × 480 30 78.9 %',
      '600 tokens, 2 with loss',
      '&lt;image&gt; × 576',
      '… 20 tokens …',
      'also accepted: beagle dog',
      'thinks: It has long ears.',
      'tool given {&quot;type&quot;:&quot;function&quot;}',
      'calls {&quot;name&quot;:&quot;look&quot;}',
      'Left out of training 120',
      'and 119 more',
      'source bookkeeping 40 train.json[0]',
      'x x@train.json[3]',
      'test 2 like one of train, but for case, space, punctuation or the encoding of a picture test.json[2] as train.json[1]',
      'Files that no sample uses 1',
    ])
      expect(text).toContain(fact);
  });

  it('marks the tokens that carry loss, and no others', () => {
    const page = datasetPage(exampleDataset());
    expect([...page.matchAll(/<b[^>]*>([^<]*)<\/b>/g)].map(([, token]) => token)).toEqual(['Beagle', '&lt;/s&gt;']);
  });

  it('lives with a dataset of which nothing could be read', () => {
    const { name, place, madeAt } = exampleDataset();
    const none = { count: 0, shown: [] };
    const page = datasetPage({
      ...{ name, place, madeAt, digest: null, model: null, pictures: null, splits: [], samples: [], keys: [] },
      problems: [{ text: 'dataset.json: "schema" is missing; add it' }],
      moreProblems: 7,
      answers: { splits: [], commonest: [], distinct: [], unseen: null },
      ...{ leftOut: none, renamedIds: none, alike: [], unusedFiles: none },
    });
    elements(page);
    expect(textOf(page)).toMatch(/✗ refused: 8 problems.*schema&quot; is missing; add it and 7 more/);
    expect(page).not.toMatch(/NaN|undefined|null/);
  });
});
