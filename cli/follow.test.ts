import { expect, test } from 'vitest';
import { taskDetails } from '../workflows/details.ts';
import { progressText } from './follow.ts';

const progress = { step: 30, steps: 75, loss: 0.5 };

test('progress tells rounds, and that a method measures, in the terminal and in the Temporal UI', () => {
  expect(progressText({ phase: 'train', progress })).toEqual(['training', '30 of 75, loss 0.5000']);
  const inRound = { ...progress, round: 2, rounds: 5 };
  expect(progressText({ phase: 'train', progress: inRound })[1]).toBe('round 2 of 5, step 30 of 75, loss 0.5000');
  const measuring = { ...progress, measuring: true as const };
  expect(progressText({ phase: 'train', progress: measuring })[1]).toBe('30 of 75, loss 0.5000, measuring');
  const matrix = { tasks: [], zeroShot: [], rows: [] };
  const details = (told: typeof progress) => taskDetails('dogs', 'train', told, [], matrix, null, '');
  expect(details(progress)).toContain('(step 30 of 75, loss 0.5000)');
  expect(details(measuring)).toContain('(step 30 of 75, loss 0.5000, measuring)');
  expect(details(inRound)).toContain('(round 2 of 5, step 30 of 75, loss 0.5000)');
});
