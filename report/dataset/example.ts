import type { DatasetView, Distribution } from '../../core/dataset-view.ts';

const lengths: Distribution = {
  count: 40,
  min: 12,
  max: 400,
  mean: 35.5,
  median: 31,
  p95: 90,
  bars: [
    { from: 10, to: 20, count: 8 },
    { from: 20, to: 30, count: 0 },
    { from: 30, to: 401, count: 32 },
  ],
};
/** One red pixel. */
const RED =
  'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC';

/** A made-up dataset with something in every place: what the tests of its page are made with. */
export function exampleDataset(): DatasetView {
  const split = { turns: 80, answers: 40, images: 38, textOnly: 2, lengths, answerLengths: lengths };
  return {
    name: 'dogs',
    place: './dogs',
    madeAt: '2026-11-30T01:02:03.000Z',
    manifest: { kind: 'short-answer', metric: 'exact', licence: 'CC-BY-4.0', source: 'https://example.org/dogs' },
    digest: 'd'.repeat(64),
    model: { name: 'org/model', contextLength: 4096 },
    problems: [],
    moreProblems: 0,
    splits: [
      { name: 'train', samples: 40, ...split },
      { name: 'test', samples: 10, ...split, lengths: null },
    ],
    answers: {
      splits: ['train', 'test'],
      commonest: [
        { text: 'Beagle', counts: [30, 2] },
        { text: '', counts: [10, 0] },
      ],
      distinct: [
        { count: 2, atLeast: false },
        { count: 1, atLeast: true },
      ],
      unseen: 3,
    },
    pictures: {
      count: 38,
      bytes: 123_456,
      longerSide: lengths,
      sizes: [{ width: 640, height: 480, count: 30 }],
      distinct: 2,
      atLeast: false,
      cloud: [
        { width: 640, height: 480, count: 30 },
        { width: 20, height: 2000, count: 8 },
      ],
    },
    samples: [
      {
        split: 'train',
        id: 'a1',
        where: 'train.json[0] (id "a1")',
        pictures: [
          { small: RED, width: 1, height: 1 },
          { small: null, width: 640, height: 480 },
        ],
        tools: [],
        turns: [{ role: 'assistant', text: 'Beagle', loss: true }],
        references: ['Beagle', 'beagle dog'],
        tokens: {
          count: 600,
          withLoss: 2,
          spans: [
            { text: '<s>', loss: false, kind: 'special', count: 1 },
            { text: '<image>', loss: false, kind: 'image', count: 576 },
            { text: ' Which?\n', loss: false, kind: 'text', count: 1 },
            { left: 20 },
            { text: 'Beagle', loss: true, kind: 'text', count: 1 },
            { text: '</s>', loss: true, kind: 'special', count: 1 },
          ],
        },
      },
      {
        split: 'test',
        id: 'b1',
        where: 'test.json[0]',
        pictures: [],
        tools: ['{"type":"function"}'],
        turns: [
          { role: 'user', text: 'Which?', loss: false },
          { role: 'assistant', text: '', loss: true, reasoning: 'It has long ears.', calls: ['{"name":"look"}'] },
        ],
        references: [],
        tokens: null,
        leftOut: 'no token of its answer carries loss',
      },
    ],
    leftOut: { count: 120, shown: [{ id: 'c1', where: 'train.json[9]', why: 'no token carries loss' }] },
    keys: [{ key: 'source', why: 'bookkeeping', samples: 40, where: 'train.json[0]' }],
    renamedIds: { count: 1, shown: [{ was: 'x', id: 'x@train.json[3]' }] },
    alike: [
      {
        kind: 'near',
        splits: ['train', 'test'],
        count: 2,
        examples: [{ where: 'test.json[2]', other: 'train.json[1]' }],
      },
    ],
    unusedFiles: { count: 1, shown: ['notes.txt'] },
  };
}
