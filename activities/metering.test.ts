import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ApplicationFailure, CancelledFailure } from '@temporalio/activity';
import { MockActivityEnvironment } from '@temporalio/testing';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Measured, StepUsage } from '../core/cost.ts';
import { LiloraError } from '../core/errors.ts';
import { FolderStore } from '../store/folder.ts';
import type { GpuContext } from './context.ts';
import type { Engine, EngineHooks } from './engine.ts';
import { metered, WorkerLife } from './metering.ts';

let folder: string;
let clock: number;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lilora-metering-'));
  clock = Math.ceil(performance.timeOrigin) + 60_000;
  vi.spyOn(Date, 'now').mockImplementation(() => clock);
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true, force: true });
});
const pass = (seconds: number) => {
  clock += seconds * 1000;
};

/** What the engine does in one job: its own script, at its own hooks. */
type Script = (hooks: EngineHooks) => Promise<void>;
function contextOf(script: Script): GpuContext {
  const engine = { run: async (_kind: string, _job: object, hooks: EngineHooks) => script(hooks) } as unknown as Engine;
  const store = new FolderStore(folder);
  const stopping = new AbortController().signal;
  return { store, openPlace: async () => store, cache: folder, codeVersion: '', engine, stopping };
}
const job = (context: GpuContext) =>
  context.engine.run('train', {} as never, {
    signal: context.stopping,
    onProgress: () => {},
    onCheckpoint: async () => pass(1),
  });

/** One attempt in an activity of its own; gives its result and its heartbeats. */
async function attempt(life: WorkerLife, script: Script, work: (c: GpuContext) => Promise<object>, carried?: Measured) {
  const environment = new MockActivityEnvironment({
    activityId: '7',
    taskQueue: 'l4',
    ...(carried && { attempt: 2, heartbeatDetails: { spent: carried } }),
  });
  const beats: Array<{ spent: Measured }> = [];
  environment.on('heartbeat', (details) => beats.push(details as { spent: Measured }));
  const run = environment.run(() => metered(contextOf(script), life, work));
  const outcome = await (run as Promise<{ usage?: StepUsage }>).then(
    ({ usage }) => ({ usage, error: null }),
    (error) => ({ usage: error.details?.[0]?.usage as StepUsage | undefined, error }),
  );
  return { ...outcome, last: beats.at(-1)!.spent };
}

describe('a step', () => {
  it('tells its time, the useful part, what its worker’s life took before, and its traffic', async () => {
    const life = new WorkerLife({ gpu: true });
    const born = performance.timeOrigin;
    const script: Script = async ({ onWork }) => {
      pass(2); // the engine process starts
      onWork?.(true);
      onWork?.(false);
      pass(5); // loads the model
      onWork?.(true);
      pass(30);
    };
    const begun = clock;
    const { usage } = await attempt(life, script, async (context) => {
      await context.store.put('a', new Uint8Array(100));
      await (await context.openPlace('x')).get('a');
      pass(3);
      await job(context);
      return {};
    });
    expect(usage).toMatchObject({
      activity: '7',
      queue: 'l4',
      gpu: true,
      seconds: 40,
      lostSeconds: 0,
      usefulSeconds: 30,
      bytesWritten: 100,
      bytesRead: 100,
      writes: 1,
      reads: 1,
    });
    expect(usage!.waitedSeconds).toBeCloseTo((begun - born) / 1000, 2);
    pass(12);
    const next = await attempt(
      life,
      async () => {},
      async () => ({}),
    );
    expect(next.usage).toMatchObject({ seconds: 0, waitedSeconds: 12, usefulSeconds: 0 });
  });

  it('counts of a lost attempt what came before its last checkpoint as useful, and carries it on', async () => {
    const life = new WorkerLife({ gpu: true });
    const lost = await attempt(
      life,
      async ({ onWork, onCheckpoint }) => {
        onWork?.(true);
        pass(10);
        await onCheckpoint!('path', 1); // takes one second, in which the engine waits for the store
        pass(4);
        throw new LiloraError('EngineLost', 'gone');
      },
      async (context) => {
        await job(context);
        return {};
      },
    );
    expect(lost.error).toBeInstanceOf(ApplicationFailure);
    expect(lost.error).toMatchObject({ type: 'EngineLost', nonRetryable: false });
    expect(lost.usage).toMatchObject({ seconds: 15, usefulSeconds: 10 });
    expect(lost.last).toMatchObject({ seconds: 15, usefulSeconds: 10 }); // what the next attempt is told
    pass(1);
    const second = await attempt(
      life,
      async ({ onWork }) => {
        onWork?.(true);
        pass(6);
      },
      async (context) => {
        await job(context);
        return {};
      },
      lost.last,
    );
    expect(second.usage).toMatchObject({ seconds: 6, lostSeconds: 15, usefulSeconds: 16 });
    expect(second.usage!.waitedSeconds).toBeCloseTo(lost.last.waitedSeconds + 1, 6);
  });

  it('that is cancelled tells it, too', async () => {
    const { error, usage } = await attempt(
      new WorkerLife({ gpu: true }),
      async () => {},
      async () => {
        pass(3);
        throw new CancelledFailure('paused');
      },
    );
    expect(error).toBeInstanceOf(CancelledFailure);
    expect(usage).toMatchObject({ seconds: 3, usefulSeconds: 0 });
  });

  it('on a worker without GPU pays for no waiting', async () => {
    const { usage } = await attempt(
      new WorkerLife({ gpu: false }),
      async () => {},
      async () => ({}),
    );
    expect(usage).toMatchObject({ gpu: false, waitedSeconds: 0 });
  });
});
