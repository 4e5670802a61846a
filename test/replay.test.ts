import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundleWorkflowCode, Worker, type WorkflowBundleWithSourceMap } from '@temporalio/worker';
import { beforeAll, describe, expect, it } from 'vitest';
import { ROOT } from '../workers/runtime.ts';

/**
 * Every stored history of every released version is replayed against the workflows as they are now. A failure here means
 * that running streams would break on upgrade: keep the old path behind `patched`, never edit a history.
 */
const HISTORIES = join(ROOT, 'test/histories');
const files = readdirSync(HISTORIES, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.json'));

let workflowBundle: WorkflowBundleWithSourceMap;
beforeAll(async () => {
  workflowBundle = await bundleWorkflowCode({ workflowsPath: join(ROOT, 'workflows/index.ts') });
});

const read = (file: string) => JSON.parse(readFileSync(join(HISTORIES, file), 'utf8'));
const idOf = (file: string) =>
  file
    .replace(/^.*[/\\]/, '')
    .replace(/\.json$/, '')
    .replaceAll('.', '/');

describe('stored histories', () => {
  it('are there', () => {
    expect(files.length).toBeGreaterThan(10);
  });

  it.each(files)('%s replays', async (file) => {
    await Worker.runReplayHistory({ workflowBundle }, read(file), idOf(file));
  });

  it('are told apart from a changed workflow', async () => {
    const file = files.find((name) => name.endsWith('lilora.plain.a.json'))!;
    const history = read(file);
    const scheduled = history.events.find(
      (event: { activityTaskScheduledEventAttributes?: object }) => event.activityTaskScheduledEventAttributes,
    );
    scheduled.activityTaskScheduledEventAttributes.activityType.name = 'anotherActivity';
    await expect(Worker.runReplayHistory({ workflowBundle }, history, idOf(file))).rejects.toThrow(/[Nn]ondeterminism/);
  });
});
