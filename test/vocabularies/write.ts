import { join } from 'node:path';
import { PUBLISHED, writePublished } from './published.ts';

/** Writes every published tokenizer into a folder, a folder each: `npx tsx test/vocabularies/write.ts FOLDER`. */
const folder = process.argv[2]!;
for (const name of PUBLISHED) writePublished(name, join(folder, name));
