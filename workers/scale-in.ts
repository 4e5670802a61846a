import type { ActivityInterceptors } from '@temporalio/worker';
import type { Logger } from 'pino';
import { DEFAULTS } from '../core/defaults.ts';

/** ECS answers from the same machine. */
const ANSWER_MS = 2000;

/**
 * On ECS, a service that is scaled in ends any of its tasks, unless a task has protected itself. This one does so while
 * an activity runs and for a moment after, because the next step of a learning task follows at once. Protection ends by
 * itself when it is not renewed, so a hung worker cannot hold its instance for good. Elsewhere (no `ECS_AGENT_URI`)
 * nothing happens, and a failed call costs a line in the log, never the work.
 */
export function protectFromScaleIn(
  log: Logger,
  agent: string | undefined = process.env['ECS_AGENT_URI'],
): () => ActivityInterceptors {
  if (!agent) return () => ({});
  const minutes = DEFAULTS['worker.protectionMinutes'].value;
  const linger = DEFAULTS['worker.protectionLingerSeconds'].value * 1000;
  let running = 0;
  let renewal: NodeJS.Timeout | undefined;
  let release: NodeJS.Timeout | undefined;
  let calls: Promise<void> = Promise.resolve();

  // One after another: a late "yes" must never follow a "no".
  const set = (body: { ProtectionEnabled: boolean; ExpiresInMinutes?: number }) => {
    calls = calls.then(async () => {
      try {
        const response = await fetch(`${agent}/task-protection/v1/state`, {
          method: 'PUT',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(body),
          signal: AbortSignal.timeout(ANSWER_MS),
        });
        if (!response.ok) throw new Error(`${response.status} ${(await response.text()).slice(0, 200)}`);
      } catch (error) {
        log.warn({ error: (error as Error).message, ...body }, 'ECS did not take the protection from scale-in');
      }
    });
    return calls;
  };
  const protect = () => set({ ProtectionEnabled: true, ExpiresInMinutes: minutes });
  const begin = () => {
    clearTimeout(release);
    if (running++ > 0 || renewal) return;
    void protect();
    renewal = setInterval(() => void protect(), (minutes * 60_000) / 3);
    renewal.unref();
  };
  const end = () => {
    if (--running > 0) return;
    release = setTimeout(() => {
      clearInterval(renewal);
      renewal = undefined;
      void set({ ProtectionEnabled: false });
    }, linger);
    release.unref();
  };

  return () => ({
    inbound: {
      async execute(input, next) {
        begin();
        try {
          return await next(input);
        } finally {
          end();
        }
      },
    },
  });
}
