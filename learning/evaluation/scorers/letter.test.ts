import { describe, expect, test } from 'vitest';
import { chosenLetter, releasedLetter } from './letter.ts';

describe('the letter that an answer chooses, and what the released scripts take it for', () => {
  test.each([
    ['B', 'B', 'B'],
    [' b ', 'B', 'B'],
    ['B.', 'B', 'B'],
    ['B. the dog', 'B', 'B'],
    ['(c)', 'C', 'C'],
    ['The answer is D', 'D', 'D'],
    ['A is right', 'A', 'A'],
    // An article is a letter only where there is no other; there it is always the first character alone.
    ['A dog, so B', 'B', 'A'],
    ['it is a dog: C', 'C', 'A'],
    ['1: C', 'C', null],
    ['F', 'F', null],
    ['dog', null, null],
    ['', null, null],
    ['BC', null, null],
  ])('%s', (text, ours, released) => {
    expect(chosenLetter(text)).toBe(ours);
    expect(releasedLetter(text)).toBe(released);
  });
});
