import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { compactionSuite } from '../test/compaction-suite.ts';
import { FolderStore } from './folder.ts';

const folder = mkdtempSync(join(tmpdir(), 'lilora-compaction-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let stores = 0;
compactionSuite('a folder', () => new FolderStore(join(folder, `store-${stores++}`)));
