import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { ROOT } from '../workers/runtime.ts';
import type { TestServers } from './servers.ts';

/** `RECORD_HISTORIES=1` keeps what the server stored, for test/replay.test.ts: once per release, never edited. */
export async function recordHistories(servers: TestServers, ids: () => Promise<readonly string[]>): Promise<void> {
  if (!process.env['RECORD_HISTORIES']) return;
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  const folder = join(ROOT, 'test/histories', version);
  mkdirSync(folder, { recursive: true });
  for (const id of await ids()) {
    const history = await servers.client.workflow
      .getHandle(id)
      .fetchHistory()
      .catch(() => null);
    if (!history) continue; // cancelled before it started
    writeFileSync(
      join(folder, `${id.replaceAll('/', '.').replaceAll(':', '')}.json`),
      historyToJSON(history).replaceAll(ROOT, ''),
    );
  }
}
