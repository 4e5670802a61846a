import { describe, expect, it } from 'vitest';
import { bytes, fixed, signed } from './generation-view.ts';

describe('numbers', () => {
  it('have a proper minus sign, no minus zero, and a dash for nothing', () => {
    expect([fixed(-1.25), fixed(-0.01), fixed(null), fixed(Number.NaN), signed(2), signed(-2), signed(0.01)]).toEqual([
      '−1.3',
      '0.0',
      '–',
      '–',
      '+2.0',
      '−2.0',
      '0.0',
    ]);
    expect([bytes(12), bytes(2048), bytes(3 * 2 ** 20)]).toEqual(['12 B', '2.0 KiB', '3.0 MiB']);
  });
});
