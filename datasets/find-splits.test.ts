import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { chooseSplits } from './choose-splits.ts';
import { findSplits } from './find-splits.ts';
import type { SplitName } from './manifest.ts';
import { plainFiles } from './write-manifest.ts';

it.each([
  [['train.json', 'test.json', 'images/train-1.png'], { train: ['train.json'], test: ['test.json'] }],
  [
    [
      'data/train-00000-of-00002.parquet',
      'data/train-00001-of-00002.parquet',
      'data/validation-00000-of-00001.parquet',
      'README.md',
    ],
    {
      train: ['data/train-00000-of-00002.parquet', 'data/train-00001-of-00002.parquet'],
      validation: ['data/validation-00000-of-00001.parquet'],
    },
  ],
  [
    ['train/metadata.csv', 'train/1.png', 'dev/metadata.jsonl', 'dev/1.png'],
    { train: ['train/metadata.csv'], validation: ['dev/metadata.jsonl'] },
  ],
  [
    ['data/train/cat/1.png', 'data/train/dog/1.png', 'data/test/cat/2.png'],
    { train: ['data/train'], test: ['data/test'] },
  ],
  [
    ['shards/dogs-train-000.tar', 'shards/dogs-eval-000.tar'],
    { train: ['shards/dogs-train-000.tar'], test: ['shards/dogs-eval-000.tar'] },
  ],
  // A word within another is none; the file's own name counts before its folder's.
  [['trainer_state.json', 'contest.json', 'train/test.jsonl'], { test: ['train/test.jsonl'] }],
  [['a.png', 'notes.txt'], {}],
  // What img2dataset and datasets lay beside samples is none.
  [
    ['train/00000.parquet', 'train/00000.tar', 'train/00000_stats.json', 'test/00001.tar'],
    { train: ['train/00000.tar'], test: ['test/00001.tar'] },
  ],
  [
    ['train/data-00000-of-00001.arrow', 'train/state.json', 'train/dataset_info.json', 'train/cache-1f.arrow'],
    { train: ['train/data-00000-of-00001.arrow'] },
  ],
  // A table counts where there are neither other samples nor images.
  [['train.csv', 'test.tsv'], { train: ['train.csv'], test: ['test.tsv'] }],
  [['train/a/1.JFIF', 'train/labels.csv'], { train: ['train'] }],
])('%j', (paths, splits) => expect(findSplits(paths).splits).toEqual(splits));

it('asks where one split has files of several kinds', () => {
  expect(() => findSplits(['train.json', 'train.parquet'])).toThrow(
    /train split has files of several kinds: .*--train/,
  );
});

describe('configurations', () => {
  const paths = ['main/train-0.parquet', 'main/test-0.parquet', 'socratic/train-0.parquet', 'socratic/test-0.parquet'];

  it('of the same split in several folders one is asked for', () => {
    expect(() => findSplits(paths)).toThrow(/train split has files in several folders: main, socratic.*--config main/);
    expect(findSplits(paths, { config: 'socratic' }).splits).toEqual({
      train: ['socratic/train-0.parquet'],
      test: ['socratic/test-0.parquet'],
    });
    expect(() => findSplits(paths, { config: 'other' })).toThrow(/no configuration "other".*main, socratic/);
    expect(findSplits(paths, { named: ['train', 'test'] }).splits).toEqual({});
  });

  it('samples that belong to no split are told', () => {
    expect(findSplits(['data/train.jsonl', 'data/testdev.jsonl', 'data/challenge.csv', 'README.md']).others).toEqual([
      'data/testdev.jsonl',
      'data/challenge.csv',
    ]);
  });

  let root = '';
  afterEach(() => {
    if (root !== '') rmSync(root, { recursive: true, force: true });
  });

  async function choose(
    files: Record<string, string>,
    config?: string,
    named: Partial<Record<SplitName, readonly string[]>> = {},
  ) {
    root = mkdtempSync(join(tmpdir(), 'lilora-splits-'));
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
    }
    const notes: string[] = [];
    const note = (text: string) => notes.push(text);
    const splits = await chooseSplits(root, await plainFiles(root, ''), { config, named, note });
    return { splits, notes };
  }

  const two = Object.fromEntries(paths.map((path) => [path, 'x']));
  const card = (text: string) => ({ ...two, 'README.md': `---\n${text}\n---\n# A dataset\n` });
  const listed = (end: string) => `configs:
- config_name: main${end}
  data_files:
  - split: train
    path: main/train-*
  - split: test
    path: [main/test-*]
- config_name: socratic
  data_files:
    train: "socratic/{train,none}-?.parquet"
    test: socratic/test-[0-9].parquet
    testdev: socratic/dev-*`;

  it('README.md lists them, and which is the default', async () => {
    const { splits, notes } = await choose(card(listed('\n  default: true')));
    expect(splits).toEqual({
      train: { samples: 'main/train-0.parquet' },
      test: { samples: 'main/test-0.parquet' },
    });
    expect(notes).toEqual([expect.stringMatching(/main is taken, the default; --config chooses another: socratic/)]);
  });

  it('without a default one is asked for, and --config chooses', async () => {
    await expect(choose(card(listed('')))).rejects.toThrow(/several configurations: main, socratic.*--config main/);
    const { splits, notes } = await choose(card(listed('')), 'socratic');
    expect(splits.train).toEqual({ samples: 'socratic/train-0.parquet' });
    expect(notes).toEqual([expect.stringMatching(/left out: split testdev of README\.md/)]);
    await expect(choose(card(listed('')), 'other')).rejects.toThrow(/no configuration "other"\. It has main, socratic/);
  });

  it('folders of data and whole folders', async () => {
    const dirs = 'configs:\n- config_name: main\n  data_dir: ./main/\n- config_name: socratic\n  data_dir: socratic';
    expect((await choose(card(dirs), 'main')).splits.test).toEqual({ samples: 'main/test-0.parquet' });
    const whole = {
      'a/b/1.jsonl': '',
      'c/2.jsonl': '',
      'README.md': '---\nconfigs:\n- data_files: {train: a, test: "**/2.jsonl"}\n---',
    };
    expect((await choose(whole)).splits).toEqual({ train: { samples: 'a/b/1.jsonl' }, test: { samples: 'c/2.jsonl' } });
  });

  it('two splits that could both be train are asked for', async () => {
    const text =
      'configs:\n- data_files:\n  - {split: train_sft, path: main/*}\n  - {split: train_gen, path: socratic/*}';
    await expect(choose(card(text))).rejects.toThrow(/"train_sft" and "train_gen".*both be train.*--train/);
  });

  it('a card that lists nothing, or is no YAML, says nothing', async () => {
    await expect(choose(card('licence: mit'))).rejects.toThrow(/several folders/);
    await expect(choose(card('a: [}'))).rejects.toThrow(/several folders/);
  });

  it('of a folder that datasets saved its caches are no samples', async () => {
    const state = JSON.stringify({ _data_files: [{ filename: 'data-00000-of-00001.arrow' }] });
    const saved = ['train', 'test'].flatMap((split) =>
      ['data-00000-of-00001.arrow', 'tmpabc.arrow'].map((name) => [`${split}/${name}`, 'x']),
    );
    const files = { ...Object.fromEntries(saved), 'train/state.json': state, 'test/state.json': state };
    expect((await choose({ ...files, 'dataset_dict.json': '{"splits": ["train", "test"]}' })).splits).toEqual({
      train: { samples: 'train/data-00000-of-00001.arrow' },
      test: { samples: 'test/data-00000-of-00001.arrow' },
    });
  });

  it('files that a person names are taken, whatever lies beside them', async () => {
    const files = { 'train/0.json': '', 'train/1.parquet': '', 'test.jsonl': '' };
    await expect(choose(files)).rejects.toThrow(/several kinds/);
    const named = { train: ['train/0.json'], test: ['test.jsonl'] };
    expect((await choose(files, undefined, named)).splits.train).toEqual({ samples: 'train/0.json' });
    expect((await choose(files, undefined, { train: ['train/0.json'] })).splits.test).toEqual({
      samples: 'test.jsonl',
    });
  });

  it('of a folder that a person names the samples files are taken, or its images', async () => {
    const files = {
      'a/data-0.arrow': '',
      'a/data-1.arrow': '',
      'a/state.json': '{}',
      'b/cat/1.png': '',
      'b/c.json': '',
    };
    expect((await choose(files, undefined, { train: ['./a/'], test: ['b'] })).splits).toEqual({
      train: { samples: ['a/data-0.arrow', 'a/data-1.arrow'] },
      test: { samples: 'b' },
    });
    await expect(choose(files, undefined, { train: ['a'], test: ['z.json'] })).rejects.toThrow(
      /--test z\.json: there is no such file or folder/,
    );
  });

  it('a split alone is told for what it is', async () => {
    await expect(choose({ 'train.jsonl': '' })).rejects.toThrow(/Only train was found \(train\.jsonl\).*--test/);
  });

  it.each([
    ['train.jsonl.gz', /train\.jsonl\.gz is packed: unpack it\. Name them with --train/],
    ['train.xlsx', /is a spreadsheet: save it as CSV/],
    ['train.ndjson', /rename it to \.jsonl/],
    ['train.pkl', /is of a kind that is not read/],
  ])('a file of another kind is told for what it is: %s', async (path, message) => {
    await expect(choose({ [path]: '', 'test.jsonl': '' })).rejects.toThrow(message);
  });

  it('what systems leave behind is no part of a dataset', async () => {
    await choose({
      'train.jsonl': '',
      'test.jsonl': '',
      '._train.jsonl': '',
      '__MACOSX/train.jsonl': '',
      'a/Thumbs.db': '',
      'a/.DS_Store': '',
    });
    expect(await plainFiles(root, '')).toEqual(['test.jsonl', 'train.jsonl']);
  });
});
