import { describe, expect, it } from 'vitest';
import { metrics, stageAverages, withoutTask } from './matrix.ts';

const matrix = {
  tasks: ['letters', 'captions', 'words'],
  zeroShot: [10, 20, 30],
  rows: [[80], [70, 60], [50, 65, 90]],
};

describe('the metrics of three tasks, worked by hand', () => {
  const result = metrics(matrix, [100, 90, 50], { captions: ['captions'], forward: [null, 25, 36] });

  it.each([
    ['AP', (50 + 65 + 90) / 3],
    ['APWithoutCaptions', (50 + 90) / 2],
    ['MAP', (80 + (70 + 60) / 2 + (50 + 65 + 90) / 3) / 3],
    ['BWT', (50 - 80 + (65 - 60)) / 2],
    // The second task is best at the end: it counts as not forgotten, not as gained.
    ['forgetting', (80 - 50 + (65 - 65)) / 2],
    ['FWT', (25 - 20 + (36 - 30)) / 2],
    ['MFT', (80 + 60 + 90) / 3],
    ['MIF', (100 + 90 + 50) / 3],
  ] as const)('%s', (name, expected) => expect(result[name]).toBeCloseTo(expected, 10));

  it('AP_t after every task', () => {
    expect(stageAverages(matrix)).toEqual([80, 65, (50 + 65 + 90) / 3]);
  });
});

describe('where a metric has no meaning it is null', () => {
  it('after one task there is nothing to forget and nothing to transfer', () => {
    const first = metrics({ tasks: ['a'], zeroShot: [5], rows: [[40]] }, [70], { forward: [null] });
    expect(first).toEqual({
      AP: 40,
      APWithoutCaptions: 40,
      MAP: 40,
      BWT: null,
      forgetting: null,
      FWT: null,
      MFT: 40,
      MIF: 70,
    });
  });

  it('before any task everything is null', () => {
    expect(Object.values(metrics({ tasks: [], zeroShot: [], rows: [] }, []))).toEqual(new Array(8).fill(null));
  });

  it('without scores on tasks not yet learned there is no FWT, nor with some of them', () => {
    expect(metrics(matrix, []).FWT).toBeNull();
    expect(metrics(matrix, [], { forward: [null, 25] }).FWT).toBeNull();
    expect(metrics(matrix, [], { forward: [null, 25, null] }).FWT).toBeNull();
    expect(metrics(matrix, []).MIF).toBeNull();
  });

  it('when all tasks are captions there is no average without them', () => {
    expect(
      metrics({ tasks: ['a'], zeroShot: [5], rows: [[140]] }, [], { captions: ['a'] }).APWithoutCaptions,
    ).toBeNull();
  });
});

it('a published row has the published AP, captions on their own scale included', () => {
  const last = [77.36, 58.29, 151.99, 95.35, 51.96, 65.71];
  const tasks = ['ScienceQA', 'TextVQA', 'Flickr30k', 'ImageNet', 'GQA', 'VQAv2'];
  const { AP, APWithoutCaptions } = metrics(
    { tasks, zeroShot: tasks.map(() => 0), rows: tasks.map((_, i) => last.slice(0, i + 1)) },
    [],
    { captions: ['Flickr30k'] },
  );
  expect(AP!.toFixed(2)).toBe('83.44');
  expect(APWithoutCaptions).toBeCloseTo((77.36 + 58.29 + 95.35 + 51.96 + 65.71) / 5, 10);
});

describe('without a task', () => {
  it('its row and column go', () => {
    expect(withoutTask(matrix, 'letters')).toEqual({
      tasks: ['captions', 'words'],
      zeroShot: [20, 30],
      rows: [[60], [65, 90]],
    });
    expect(withoutTask(matrix, 'captions')).toEqual({
      tasks: ['letters', 'words'],
      zeroShot: [10, 30],
      rows: [[80], [50, 90]],
    });
  });

  it('without the last one, the others keep the scores that they have now', () => {
    expect(withoutTask(matrix, 'words')).toEqual({
      tasks: ['letters', 'captions'],
      zeroShot: [10, 20],
      rows: [[80], [50, 65]],
    });
  });
});
