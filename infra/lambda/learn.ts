/**
 * Learns one dataset with what `npm run build` made, against a Temporal and an S3 server of this machine: both functions of dist/orchestrator
 * are invoked again and again, as Temporal's worker controller does while tasks wait, and dist/trigger submits the dataset out of recorded
 * events. `npx tsx infra/lambda/learn.ts [DIST]`
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { ensureSearchAttributes } from '../../workers/config.ts';
import { ROOT } from '../../workers/runtime.ts';
import { QUEUES, type StreamDescription } from '../../workflows/contract.ts';
import { learnOnce, say, variables, whenSaid } from '../learn-once.ts';

const dist = resolve(process.argv[2] ?? join(ROOT, 'infra/lambda/dist'));
const INVOKE = join(ROOT, 'infra/lambda/invoke.mjs');
const BUILD_ID = 'try';
/** Life of one invocation, in seconds: short, so that several hand the work to each other. */
const SECONDS = 30;
const stopping = new AbortController();
const invocations: Promise<void>[] = [];
const ended: Record<string, number> = {};

function invoke(role: string, env: NodeJS.ProcessEnv) {
  return spawn(process.execPath, [INVOKE, join(dist, 'orchestrator'), String(SECONDS)], {
    env: { ...process.env, ...env, LILORA_ROLE: role, LILORA_BUILD_ID: BUILD_ID },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
}

/** One invocation of the trigger function with an event. */
async function trigger(event: string, env: NodeJS.ProcessEnv): Promise<{ stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [INVOKE, join(dist, 'trigger'), '20'], { env, stdio: 'pipe' });
  child.stdin.end(event);
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { stdout, stderr };
}

/** Invokes a function again whenever the invocation before has ended, until told to stop. */
async function keepInvoking(role: string, env: NodeJS.ProcessEnv, first: ChildProcess): Promise<void> {
  for (let child = first; ; child = invoke(role, env)) {
    const code = await new Promise<number | null>((gone) => child.once('exit', gone));
    if (code !== 0) throw new Error(`the ${role} function ended with ${code}`);
    ended[role] = (ended[role] ?? 0) + 1;
    if (stopping.signal.aborted) return;
  }
}

await learnOnce({
  orchestrator: async (servers) => {
    const { workflowService } = servers.client.connection;
    await ensureSearchAttributes(servers.client.connection as never, 'default');
    for (const [role, deploymentName] of Object.entries({ workflows: QUEUES.orchestrator, data: QUEUES.data })) {
      const first = invoke(role, variables(servers));
      await whenSaid(first, /handler runs/);
      invocations.push(keepInvoking(role, variables(servers), first));
      // Temporal routes to a version once it is current; the worker controller does this when it is told of the function.
      for (let tries = 0; ; tries++) {
        try {
          await workflowService.setWorkerDeploymentCurrentVersion({
            namespace: 'default',
            deploymentName,
            buildId: BUILD_ID,
            ignoreMissingTaskQueues: true,
          });
          break;
        } catch (error) {
          if (tries > 100) throw error;
          await new Promise((later) => setTimeout(later, 200));
        }
      }
      say(`function ${role} serves ${deploymentName}`);
    }
  },
  gpu: async (servers) => {
    await servers.worker('gpu');
    say('gpu worker ready');
  },
  submit: async (servers) => {
    // Recorded by AWS: the same dataset three times, as S3, EventBridge and SNS tell it, and a message that is no event.
    const event = readFileSync(join(ROOT, 'test/fixtures/events/lambda-sqs.json'), 'utf8')
      .replaceAll('amzn-s3-demo-bucket', 'lilora-test')
      .replace(/my(\+| )dogs(\+cats)?/g, 'colours');
    const rules = { schema: 1, rules: [{ bucket: 'lilora-test', prefix: 'datasets/', stream: 'deployed' }] };
    let [said, failures] = ['', 0];
    // What could not be submitted in time stays in the queue, and SQS hands it over again.
    for (let delivery = 1; delivery <= 5 && failures !== 1; delivery++) {
      const { stdout, stderr } = await trigger(event, {
        PATH: process.env['PATH'],
        ...variables(servers),
        LILORA_RULES: JSON.stringify(rules),
      });
      said = `${stdout}\n${stderr}`;
      failures = JSON.parse(stdout.trim().split('\n').at(-1) ?? '{}').batchItemFailures?.length;
    }
    if (failures !== 1) throw new Error(`the trigger answered ${said}`);
    const { tasks } = await servers.client.workflow.getHandle('lilora/deployed').query<StreamDescription>('describe');
    if (tasks.length !== 1) throw new Error(`three events made ${tasks.length} tasks`);
    say(`trigger: ${/imported in \d+ ms/.exec(said)?.[0]}, one task out of three events`);
  },
  stop: async () => {
    stopping.abort();
    await Promise.all(invocations);
    say(`invocations that ended as they should: ${JSON.stringify(ended)}`);
  },
});
