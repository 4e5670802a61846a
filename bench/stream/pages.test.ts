import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ROOT } from '../../workers/runtime.ts';
import { pages } from './pages.ts';

it('says in the documentation what bench/results holds', async () => {
  const files = await pages();
  expect([...files.keys()]).toEqual(expect.arrayContaining(['docs/methods.md', 'learning/methods/ewc/README.md']));
  for (const [file, text] of files)
    expect(readFileSync(join(ROOT, file), 'utf8'), `${file}: run npx tsx bench/stream/publish.ts`).toBe(text);
});
