/** Puts results of bench:stream into the documentation (pages.ts): `npx tsx bench/stream/publish.ts`. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../../workers/runtime.ts';
import { pages } from './pages.ts';

for (const [file, text] of await pages()) writeFileSync(join(ROOT, file), text);
