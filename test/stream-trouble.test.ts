import { afterAll, beforeAll, expect, it } from 'vitest';
import { LiloraError } from '../core/errors.ts';
import { withScriptedStream } from './scripted-stream.ts';
import { retry, TestServers } from './servers.ts';

/** A stream whose store says no, on a real Temporal server; its activities answer from a script. */
let servers: TestServers;
beforeAll(async () => {
  servers = await TestServers.start({ s3: false });
});
afterAll(() => servers.stop());

it('waits for a store that refuses, says so, and goes on with its queue', async () => {
  let refuses = true;
  const script = {
    score: (bank: string | null) => (bank === null ? 10 : 80),
    unheard: ['a'],
    opening: (time: number) => {
      if (time > 1 && refuses) throw new LiloraError('BadConfig', 's3://b: the store answers 404 NoSuchBucket.');
    },
  };
  await withScriptedStream(servers, 'patient', {}, script, async ({ submit, until, describe, handle }) => {
    await submit('s3://d/a');
    await submit('s3://d/b');
    const { trouble } = await retry(async () => {
      const found = await describe();
      expect(found.trouble).toBeDefined();
      return found;
    });
    expect(trouble!.message).toBe('BadConfig: s3://b: the store answers 404 NoSuchBucket.');
    // What is submitted meanwhile waits as well.
    expect(await submit('s3://d/c')).toMatchObject({ status: 'queued' });
    await expect(handle.executeUpdate('rollback', { args: [{ generation: 1 }] })).rejects.toMatchObject({
      cause: { type: 'Conflict' },
    });
    refuses = false;
    await handle.signal('resume'); // a person need not wait for the next try
    for (const task of ['a', 'b', 'c']) await until(task, 'published');
    expect((await describe()).trouble).toBeUndefined();
  });
});
