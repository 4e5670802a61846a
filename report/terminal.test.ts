import { describe, expect, it } from 'vitest';
import { matrixText, plain, table } from './terminal.ts';

describe('the terminal', () => {
  it('aligns columns, numbers to the right, wide characters counted as two', () => {
    expect(
      table([
        ['task', 'score'],
        ['日本', '9.5'],
        ['ab', '100.0'],
      ]),
    ).toBe('task  score\n日本    9.5\nab    100.0');
  });

  it('draws the matrix', () => {
    expect(matrixText({ tasks: ['one', 'two'], zeroShot: [1, 2], rows: [[50], [49.5, 80.25]] })).toBe(
      [
        'after learning   one   two  average',
        '(base model)     1.0   2.0      1.5',
        'one             50.0           50.0',
        'two             49.5  80.3     64.9',
      ].join('\n'),
    );
  });

  it('lets no escape sequence through', () => {
    expect(plain('a\u001b[31mb\u0007\nc')).toBe('a\\u{1b}[31mb\\u{7} c');
  });
});
