import { expect, it } from 'vitest';
import { findSplits } from './find-splits.ts';

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
])('%j', (paths, splits) => expect(findSplits(paths)).toEqual(splits));

it('asks where one split has files of several kinds', () => {
  expect(() => findSplits(['train.json', 'train.parquet'])).toThrow(
    /train split has files of several kinds: .*--train/,
  );
});
