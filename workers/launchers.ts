import { readFileSync } from 'node:fs';
import type { Client } from '@temporalio/client';
import { z } from 'zod';
import type { Launcher } from '../activities/platforms.ts';
import { DEFAULTS } from '../core/defaults.ts';
import { LiloraError } from '../core/errors.ts';
import { launcherWorkflowId, QUEUES, SCHEMA, WORKFLOWS } from '../workflows/contract.ts';

const seconds = (name: 'idleExitSeconds' | 'startSeconds' | 'pollSeconds') =>
  z.number().positive().max(86_400).default(DEFAULTS[`launcher.${name}`].value);

const LAUNCHERS = z.array(
  z
    .strictObject({
      queue: z.string().min(1).max(200).default(QUEUES.gpu),
      platform: z.enum(['runpod', 'modal', 'sagemaker', 'http']),
      endpoint: z.string().min(1),
      maxWorkers: z.int().positive().max(1000).default(DEFAULTS['launcher.maxWorkers'].value),
      idleExitSeconds: seconds('idleExitSeconds'),
      startSeconds: seconds('startSeconds'),
      pollSeconds: seconds('pollSeconds'),
    })
    .refine(({ platform, endpoint }) => platform === 'sagemaker' || isSafeUrl(endpoint), {
      message: 'endpoint must be an https:// URL (http:// only on this machine), without credentials in it',
    }),
);

/** Reads `LILORA_LAUNCHERS`: a JSON array, or the path of a file that holds one. Absent: no launchers. */
export function loadLaunchers(env: NodeJS.ProcessEnv = process.env): readonly Launcher[] {
  const given = env['LILORA_LAUNCHERS']?.trim();
  if (!given) return [];
  const refuse = (why: string, cause?: unknown): never => {
    throw new LiloraError(
      'BadConfig',
      `LILORA_LAUNCHERS: ${why}. See docs/using.md, "Workers that start by themselves".`,
      {
        cause,
      },
    );
  };
  let value: unknown;
  try {
    value = JSON.parse(given.startsWith('[') ? given : readFileSync(given, 'utf8'));
  } catch (error) {
    return refuse(`neither a JSON array nor a file that holds one (${(error as Error).message})`, error);
  }
  const parsed = LAUNCHERS.safeParse(value);
  if (!parsed.success) return refuse(z.prettifyError(parsed.error).replace(/\s+/g, ' '));
  const queues = parsed.data.map(({ queue }) => queue);
  if (new Set(queues).size < queues.length) return refuse('a task queue has more than one launcher');
  return parsed.data;
}

function isSafeUrl(text: string): boolean {
  const url = URL.parse(text);
  if (!url || url.username || url.password) return false;
  return (
    url.protocol === 'https:' || (url.protocol === 'http:' && /^(127\.0\.0\.1|localhost|\[::1\])$/.test(url.hostname))
  );
}

/** Starts the launcher workflow of every configured queue, unless it runs already. */
export async function startLaunchers(client: Client, launchers: readonly Launcher[]): Promise<void> {
  for (const { queue, platform } of launchers)
    await client.workflow.start(WORKFLOWS.launcher, {
      workflowId: launcherWorkflowId(queue),
      taskQueue: QUEUES.orchestrator,
      args: [{ schema: SCHEMA, queue }],
      workflowIdConflictPolicy: 'USE_EXISTING',
      staticSummary: `Starts gpu workers for ${queue} on ${platform}`,
    });
}
