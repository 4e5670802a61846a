import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { QUEUES, taskWorkflowId } from '../workflows/contract.ts';
import { withScriptedStream } from './scripted-stream.ts';
import { TestServers } from './servers.ts';

/** What is evaluated where, and how it is cut: decisions alone, as in workflows.test.ts. */
let servers: TestServers;
beforeAll(async () => {
  servers = await TestServers.start({ s3: false });
});
afterAll(() => servers.stop());

type Arguments = Parameters<typeof withScriptedStream> extends [TestServers, ...infer Rest] ? Rest : never;
const withStream = (...given: Arguments) => withScriptedStream(servers, ...given);

const good = (bank: string | null) => (bank === null ? 10 : 80);

describe('evaluation', () => {
  const sharded = { evaluation: { maxNewTokens: 1, batchSize: 10, shardSamples: 20 } };

  it('cuts large test splits into shards, the longest first, and takes small ones whole', async () => {
    const samples = (task: string) => ({ large: 60, larger: 75, small: 15 })[task]!;
    await withStream(
      'sharded',
      sharded,
      { score: good, samples, known: (bank) => bank === null },
      async ({ submit, until, calls }) => {
        for (const task of ['small', 'large', 'larger']) await submit(`s3://d/${task}`);
        await until('larger', 'published');
        const evaluated = calls.slice(calls.lastIndexOf('regularize 0') + 1, -1);
        expect(evaluated.filter((call) => call.startsWith('evaluate'))).toEqual(['evaluate small']);
        expect(evaluated.filter((call) => call.startsWith('answer')).toSorted()).toEqual([
          'answer large 0-2',
          'answer large 2-4',
          'answer large 4-6',
          'answer larger 0-2',
          'answer larger 2-4',
          'answer larger 4-6',
          'answer larger 6-8',
        ]);
        expect(evaluated.filter((call) => call.startsWith('merge')).toSorted()).toEqual([
          'merge large-0-2 large-2-4 large-4-6',
          'merge larger-0-2 larger-2-4 larger-4-6 larger-6-8',
        ]);
        const { events } = await servers.client.workflow.getHandle(taskWorkflowId('sharded', 'larger')).fetchHistory();
        const scheduled = events!.flatMap(({ activityTaskScheduledEventAttributes: at }) =>
          /^(answer|evaluate)/.test(at?.activityType?.name ?? '') ? [at!.activityType!.name!] : [],
        );
        expect(scheduled.slice(-8)).toEqual([...Array<string>(4 + 3).fill('answerShard'), 'evaluateTask']);
      },
    );
  });

  it('asks no GPU for what is known', async () => {
    const script = { score: good, samples: () => 60, known: () => true };
    await withStream('known', sharded, script, async ({ submit, until, calls }) => {
      await submit('s3://d/a');
      await until('a', 'published');
      expect(calls).toEqual(['fetch a', 'train a', 'publish a trained']);
    });
  });

  it('runs on a GPU class of its own, and routes there', async () => {
    const queues = { gpuQueue: 'large-gpus', evaluationQueue: 'small-gpus', router: 'lda' } as const;
    await withStream('classes', queues, { score: good }, async ({ submit, until, calls }) => {
      await submit('s3://d/a');
      await submit('s3://d/b');
      await until('b', 'published');
      const { events } = await servers.client.workflow.getHandle(taskWorkflowId('classes', 'b')).fetchHistory();
      const where = events!.flatMap(({ activityTaskScheduledEventAttributes: at }) =>
        at ? [`${at.activityType!.name} on ${at.taskQueue!.name}`] : [],
      );
      expect(new Set(where)).toEqual(
        new Set([
          `fetchDataset on ${QUEUES.data}`,
          `findEvaluations on ${QUEUES.data}`,
          'evaluateTask on small-gpus',
          'evaluateRouted on small-gpus',
          'trainTask on large-gpus',
          'regularizeShared on large-gpus',
          'routingStatistics on large-gpus',
          `publishGeneration on ${QUEUES.data}`,
        ]),
      );
      const routed = calls.filter((call) => call.startsWith('route ')).sort();
      expect(routed).toEqual(['a over a', 'a over a b', 'b over a b'].map((each) => `route ${each}`));
    });
  });
});
