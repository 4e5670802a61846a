import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { readPrices } from './prices.ts';

it('the example is a price table, and says that it is an example and where it is from', () => {
  const prices = readPrices(readFileSync(new URL('../examples/prices.json', import.meta.url)), 'examples/prices.json');
  expect(prices.workers?.['lilora-gpu']?.perSecond).toBeGreaterThan(0);
  expect(prices.source).toMatch(/^An example.*https:.*20\d\d/s);
});

it.each([
  ['{"currency": "EUR", "gpu": 1}', /gpu/],
  ['{"currency": "EUR", "workers": {"l4": {"perSecond": -1}}}', /workers\.l4\.perSecond/],
  ['{"workers": {}}', /currency/],
  ['{"currency": "EUR",}', /prices\.json:1:/],
])('%s is refused in words that help', (text, message) => {
  expect(() => readPrices(Buffer.from(text), 'prices.json')).toThrow(message);
});
