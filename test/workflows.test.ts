import { Context } from '@temporalio/activity';
import { WorkflowUpdateFailedError } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TaskDescription, taskWorkflowId } from '../workflows/contract.ts';
import { averagedRound, file, type Script, scriptedDefinition } from './scripted-learning.ts';
import { type Steer, withScriptedStream } from './scripted-stream.ts';
import { retry, TestServers } from './servers.ts';

/**
 * The decisions of the workflows, on a real Temporal server, with activities that answer from a script: what is decided
 * is under test here, not what is computed.
 */
let servers: TestServers;
beforeAll(async () => {
  servers = await TestServers.start({ s3: false });
});
afterAll(() => servers.stop());

type Arguments = Parameters<typeof withScriptedStream> extends [TestServers, ...infer Rest] ? Rest : never;
const withStream = (...given: Arguments) => withScriptedStream(servers, ...given);

const good = (bank: string | null) => (bank === null ? 10 : 80);

describe('a stream', () => {
  it('learns tasks one after another, regularizes from the second on, and publishes each', async () => {
    await withStream('plain', {}, { score: good }, async ({ submit, until, calls, describe }) => {
      expect(await submit('s3://d/a')).toMatchObject({
        task: 'a',
        status: 'queued',
        duplicate: false,
        workflowId: 'lilora/plain/a',
      });
      await submit('s3://d/b');
      await until('b', 'published');
      expect(calls).toEqual([
        'fetch a',
        'train a',
        'publish a trained',
        'fetch b',
        'train b',
        'regularize 0',
        'publish b regularized-0',
      ]);
      expect((await describe()).matrix).toEqual({ tasks: ['a', 'b'], zeroShot: [10, 10], rows: [[80], [80, 80]] });
    });
  });

  it('evaluates the tasks of a bank that it starts from, and protects them from the first task on', async () => {
    const start = { bank: file('elsewhere'), tasks: ['x', 'y', 'z'], datasets: { z: 's3://d/z', x: 's3://d/x' } };
    const score = (bank: string | null) => (bank === null ? 10 : bank === 'elsewhere' ? 70 : 80);
    await withStream('adopting', { start }, { score }, async ({ submit, until, calls, describe }) => {
      await expect(submit('s3://elsewhere/y')).rejects.toSatisfy(
        (error) => error instanceof WorkflowUpdateFailedError && /already has a task "y"/.test(String(error.cause)),
      );
      await submit('s3://d/a');
      await until('a', 'published');
      const [x, z, ...rest] = calls;
      expect([x, z].sort()).toEqual(['fetch x', 'fetch z']);
      expect(rest).toEqual(['publish start x z', 'fetch a', 'train a', 'regularize 0', 'publish a regularized-0']);
      expect((await describe()).matrix).toEqual({
        tasks: ['x', 'z', 'a'],
        zeroShot: [10, 10, 10],
        rows: [[70], [70, 70], [80, 80, 80]],
      });
    });
  });

  it('starts from a bank whose tasks nobody can evaluate', async () => {
    const start = { bank: file('elsewhere'), tasks: ['x'] };
    await withStream('unseen', { start }, { score: good }, async ({ submit, until, calls, describe }) => {
      await submit('s3://d/a');
      await until('a', 'published');
      expect(calls).toEqual(['fetch a', 'train a', 'regularize 0', 'publish a regularized-0']);
      expect((await describe()).matrix.tasks).toEqual(['a']);
    });
  });

  it('trains before the base model is scored, and from zero has a worker load the model while a dataset is fetched', async () => {
    const script = { score: good, fromZero: true, samples: () => 1, bad: ['broken'] };
    await withStream('from-zero', {}, script, async ({ submit, until, calls }) => {
      await submit('s3://d/a');
      await submit('s3://d/broken');
      await until('a', 'published');
      await until('broken', 'refused');
      const { events } = await servers.client.workflow.getHandle(taskWorkflowId('from-zero', 'a')).fetchHistory();
      const scheduled = events!.flatMap(({ activityTaskScheduledEventAttributes: at }) => at?.activityType?.name ?? []);
      expect(scheduled).toEqual([
        ...['fetchDataset', 'warmModel', 'trainTask'],
        ...['findEvaluations', 'evaluateTask', 'findEvaluations', 'evaluateTask', 'publishGeneration'],
      ]);
      expect(calls.filter((call) => call === 'evaluate a')).toHaveLength(2);
    });
  });

  it('answers the same dataset with the first submission, and refuses another dataset under a taken name', async () => {
    await withStream('twice', {}, { score: good }, async ({ submit, until, calls }) => {
      await submit('s3://d/a');
      await until('a', 'published');
      expect(await submit('s3://d/a')).toMatchObject({
        task: 'a',
        duplicate: true,
        status: 'published',
        generation: 1,
      });
      await expect(submit('s3://elsewhere/a')).rejects.toSatisfy(
        (error) =>
          error instanceof WorkflowUpdateFailedError && /already has a task "a"/.test(String(error.cause?.message)),
      );
      expect(calls.filter((call) => call.startsWith('train'))).toHaveLength(1);
    });
  });

  it('refuses bad data before training and goes on with the next dataset', async () => {
    const script = { score: good, bad: ['broken', 'manifest:s3://d/none'] };
    await withStream('bad', {}, script, async ({ submit, until, calls }) => {
      await expect(submit('s3://d/none')).rejects.toSatisfy((error) =>
        /not JSON/.test(JSON.stringify(error, Object.getOwnPropertyNames(error)) + String((error as Error).cause)),
      );
      await submit('s3://d/broken');
      await submit('s3://d/fine');
      expect((await until('broken', 'refused')).message).toBe('BadDataset: train.json, sample 7: no assistant turn.');
      await until('fine', 'published');
      expect(calls).not.toContain('train broken');
    });
  });

  it('goes on from what is published when a publication fails after it took hold', async () => {
    await withStream('unheard', {}, { score: good, unheard: ['a'] }, async ({ submit, until, calls }) => {
      await submit('s3://d/a');
      await submit('s3://d/b');
      expect(await until('a', 'published')).toMatchObject({ generation: 1 });
      expect(await until('b', 'published')).toMatchObject({ generation: 2 });
      // It knows that `a` was learned: what it shares is regularized.
      expect(calls).toContain('publish b regularized-0');
    });
  });

  it('pauses between and within tasks, and resumes', async () => {
    let release = () => {};
    const training = (attempt: number) =>
      attempt === 1 ? new Promise<void>((resolve) => (release = resolve)) : Promise.resolve();
    await withStream(
      'pausing',
      {},
      { score: good, training, leftOut: 2 },
      async ({ submit, until, calls, handle, describe }) => {
        await handle.signal('pause');
        await submit('s3://d/a');
        await new Promise((resolve) => setTimeout(resolve, 500));
        expect(calls).toEqual([]);
        await handle.signal('resume');
        await retry(async () => expect(calls).toContain('train a'));
        await handle.signal('pause');
        await retry(async () => {
          const task = await servers.client.workflow
            .getHandle(taskWorkflowId('pausing', 'a'))
            .query<{ phase: string; note: string | null }>('describe');
          expect(task.phase).toBe('paused');
          expect(task.note).toMatch(/^2 training sample\(s\) are left out/);
        });
        release();
        await handle.signal('resume');
        await until('a', 'published');
        expect((await describe()).paused).toBe(false);
      },
    );
  });

  it('learns the newest version of a dataset that waits, and refuses another one of a task that runs', async () => {
    let release = () => {};
    const training = () => new Promise<void>((resolve) => (release = resolve));
    const versions: Record<string, number> = {};
    await withStream('newer', {}, { score: good, training, versions }, async ({ submit, until, calls, describe }) => {
      await submit('s3://d/a');
      await submit('s3://d/b');
      await retry(async () => expect(calls).toContain('train a'));
      Object.assign(versions, { 's3://d/a': 2, 's3://d/b': 2 });
      expect(await submit('s3://d/b')).toMatchObject({ duplicate: false, datasetDigest: 'digest-of-s3://d/b2' });
      expect(await submit('s3://d/b')).toMatchObject({ duplicate: true, datasetDigest: 'digest-of-s3://d/b2' });
      await expect(submit('s3://d/a')).rejects.toMatchObject({ cause: { type: 'Conflict' } });
      await expect(submit('s3://elsewhere/b')).rejects.toMatchObject({ cause: { type: 'Conflict' } });
      expect((await describe()).tasks.map((t) => [t.task, t.datasetDigest])).toEqual([
        ['a', 'digest-of-s3://d/a'],
        ['b', 'digest-of-s3://d/b2'],
      ]);
      release();
      await until('a', 'published');
      await retry(async () => expect(calls).toContain('train b'));
      release();
      await until('b', 'published');
    });
  });

  it('cancels queued and running tasks; nothing is published', async () => {
    const training = () => new Promise<void>((resolve) => setTimeout(resolve, 1500));
    await withStream('cancelling', {}, { score: good, training }, async ({ submit, until, handle, calls }) => {
      await submit('s3://d/a');
      await submit('s3://d/b');
      await retry(async () => expect(calls).toContain('train a'));
      await handle.executeUpdate('cancelTask', { args: [{ task: 'b' }] });
      await handle.executeUpdate('cancelTask', { args: [{ task: 'a' }] });
      await until('a', 'cancelled');
      await until('b', 'cancelled');
      expect(calls.filter((call) => call.startsWith('publish'))).toEqual([]);
      expect(await submit('s3://d/a')).toMatchObject({ duplicate: false, status: 'queued' });
      await until('a', 'published');
    });
  });

  it('rolls back to an earlier generation when idle', async () => {
    await withStream('rolling', {}, { score: good }, async ({ submit, until, handle, calls, describe }) => {
      await submit('s3://d/a');
      await submit('s3://d/b');
      await until('b', 'published');
      await handle.executeUpdate('rollback', { args: [{ generation: 1 }] });
      expect(calls.at(-1)).toBe('rollback 1');
      expect((await describe()).head?.generation).toBe(1);
      expect((await describe()).tasks.find(({ task }) => task === 'b')).toMatchObject({ status: 'rejected' });
    });
  });

  it('removes a task when idle, and may learn it again', async () => {
    let release = () => {};
    const training = (attempt: number) => (attempt < 3 ? Promise.resolve() : new Promise<void>((go) => (release = go)));
    await withStream('removing', {}, { score: good, training }, async ({ submit, until, handle, calls, describe }) => {
      await submit('s3://d/a');
      await submit('s3://d/b');
      await until('b', 'published');
      const removed = await handle.executeUpdate('removeTask', { args: [{ task: 'a' }] });
      expect(removed).toMatchObject({ task: 'a', generation: 3 });
      expect(calls.at(-1)).toBe('remove a');
      expect((await describe()).head?.generation).toBe(3);
      expect((await describe()).tasks.map(({ task }) => task)).toEqual(['b']);
      expect(await submit('s3://d/a')).toMatchObject({ duplicate: false });
      await until('a', 'running');
      const refused = handle.executeUpdate('removeTask', { args: [{ task: 'b' }] });
      await expect(refused).rejects.toMatchObject({ cause: { message: expect.stringContaining('A task is running') } });
      await retry(async () => expect(calls.filter((call) => call === 'train a')).toHaveLength(2));
      release();
      await until('a', 'published');
    });
  });
});

describe('training in rounds', () => {
  const rounds = { roundSteps: 5, outerLearningRate: 1, outerMomentum: 0 };
  /** A definition that trains in two rounds, says the script. */
  const inTwo = (workers: number) => ({ training: { ...scriptedDefinition('any').training, ...rounds, workers } });
  const inRound = ({ calls }: Steer, round: number) => calls.filter((call) => call.startsWith(`round ${round}`));

  it('trains every worker in every round from its own state and the average before', async () => {
    await withStream('rounds', inTwo(2), { score: good }, async ({ submit, until, calls }) => {
      await submit('s3://d/a');
      await until('a', 'published');
      const sorted = [calls[0], ...calls.slice(1, 3).sort(), calls[3], ...calls.slice(4, 6).sort(), ...calls.slice(6)];
      expect(sorted).toEqual([
        'fetch a',
        'round 0 worker 0 from undefined',
        'round 0 worker 1 from undefined',
        'average 0 of weights-0-0,weights-0-1 after undefined',
        'round 1 worker 0 from inner-0-0',
        'round 1 worker 1 from inner-0-1',
        'average 1 of weights-1-0,weights-1-1 after averaged-0',
        'publish a averaged',
      ]);
    });
  });

  it('goes on after the newest round that the store knows', async () => {
    const script = { score: good, averaged: averagedRound(0, 3) };
    await withStream('rounds-again', inTwo(3), script, async ({ submit, until, calls }) => {
      await submit('s3://d/a');
      await until('a', 'published');
      expect(calls.filter((call) => call.startsWith('round 0'))).toEqual([]);
      expect(calls.filter((call) => call.startsWith('round 1'))).toHaveLength(3);
    });
  });

  it('pauses between rounds, and tells which round it is', async () => {
    let release = () => {};
    const training = (attempt: number) =>
      attempt === 1 ? new Promise<void>((resolve) => (release = resolve)) : Promise.resolve();
    await withStream('rounds-pausing', inTwo(2), { score: good, training }, async (steer) => {
      const task = servers.client.workflow.getHandle(taskWorkflowId('rounds-pausing', 'a'));
      const about = () => task.query<TaskDescription>('describe');
      await steer.submit('s3://d/a');
      await retry(async () => expect(inRound(steer, 0)).toHaveLength(2));
      expect((await about()).progress).toEqual({ step: 0, steps: 8, loss: null, round: 1, rounds: 2 });
      await steer.handle.signal('pause');
      await retry(async () => expect((await about()).phase).toBe('paused'));
      release();
      await retry(async () => expect(steer.calls).toContainEqual(expect.stringMatching(/^average 0/)));
      await new Promise((resolve) => setTimeout(resolve, 500));
      expect(inRound(steer, 1)).toEqual([]);
      await steer.handle.signal('resume');
      await steer.until('a', 'published');
      expect(inRound(steer, 1)).toHaveLength(2);
    });
  });

  it('pauses within a round, of which every worker then goes on; cancels', async () => {
    /** Works until it is told to stop. */
    const busy = async () => {
      for (;;) {
        Context.current().heartbeat();
        await Context.current().sleep(50);
      }
    };
    const training = (attempt: number) => (attempt <= 2 || attempt > 4 ? busy() : Promise.resolve());
    await withStream('rounds-ending', inTwo(2), { score: good, training }, async (steer) => {
      await steer.submit('s3://d/a');
      await retry(async () => expect(inRound(steer, 0)).toHaveLength(2));
      await steer.handle.signal('pause');
      await new Promise((resolve) => setTimeout(resolve, 1500));
      expect(steer.calls).toHaveLength(3);
      await steer.handle.signal('resume');
      await retry(async () => expect(inRound(steer, 1)).toHaveLength(2));
      expect(inRound(steer, 0).sort()).toEqual([0, 0, 1, 1].map((worker) => `round 0 worker ${worker} from undefined`));
      await steer.handle.executeUpdate('cancelTask', { args: [{ task: 'a' }] });
      await steer.until('a', 'cancelled');
      expect(steer.calls.filter((call) => call.startsWith('publish'))).toEqual([]);
    });
  });
});

describe('the gate in the workflow', () => {
  /** Forgets 20 points of `a` on any bank but those named. */
  const forgets =
    (...harmless: string[]): Script['score'] =>
    (bank, task) =>
      bank === null ? 10 : task === 'a' && bank !== 'trained' && !harmless.includes(bank) ? 60 : 80;
  const two = async ({ submit, until }: Steer, end: string) => {
    await submit('s3://d/a');
    await until('a', 'published');
    await submit('s3://d/b');
    return until('b', end);
  };

  it('consolidates more strongly until the budget holds', async () => {
    await withStream('stronger', {}, { score: forgets('regularized-1') }, async (steer) => {
      await two(steer, 'published');
      expect(steer.calls.slice(3)).toEqual([
        'fetch b',
        'train b',
        'regularize 0',
        'regularize 0.5',
        'regularize 1',
        'publish b regularized-1',
      ]);
    });
  });

  it('falls back to the safe mode', async () => {
    await withStream('safety', {}, { score: forgets('safe') }, async (steer) => {
      await two(steer, 'published');
      expect(steer.calls.slice(-3)).toEqual(['regularize 1', 'train b safe', 'publish b safe']);
    });
  });

  it('rejects with a reason and leaves the head where it was', async () => {
    await withStream('rejecting', { gate: { whenOver: 'reject' } }, { score: forgets() }, async (steer) => {
      const line = await two(steer, 'rejected');
      expect(line.message).toBe('Task a would fall from 80.0 to 60.0; the forgetting budget is 5 points.');
      expect((await steer.describe()).head?.generation).toBe(1);
    });
  });

  it('asks a person, who may approve or reject', async () => {
    await withStream(
      'asking',
      { gate: { whenOver: 'ask', consolidations: [] } },
      { score: forgets() },
      async (steer) => {
        await steer.submit('s3://d/a');
        await steer.until('a', 'published');
        for (const decision of ['reject', 'approve']) {
          await steer.submit('s3://d/b');
          const child = servers.client.workflow.getHandle(taskWorkflowId('asking', 'b'));
          await retry(async () =>
            expect((await child.query<{ phase: string }>('describe')).phase).toBe('waiting-for-person'),
          );
          await steer.handle.executeUpdate<void, [object]>('decideGate', {
            args: [{ task: 'b', decision, reason: 'because' }],
          });
          const line = await steer.until('b', decision === 'approve' ? 'published' : 'rejected');
          if (decision === 'reject') expect(line.message).toBe('because');
        }
      },
    );
  });
});
