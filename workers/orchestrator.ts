import { fileURLToPath } from 'node:url';
import { Client } from '@temporalio/client';
import { Worker } from '@temporalio/worker';
import { createDataActivities } from '../activities/data.ts';
import { namedFailures } from '../activities/failures.ts';
import { removeAbandoned } from '../activities/fetch-dataset.ts';
import { createLauncherActivities } from '../activities/launcher.ts';
import { createUpkeepActivities } from '../activities/upkeep.ts';
import { DEFAULTS } from '../core/defaults.ts';
import { QUEUES } from '../workflows/contract.ts';
import { connectWorker, ensureSearchAttributes, type Settings } from './config.ts';
import { loadLaunchers, startLaunchers } from './launchers.ts';
import { startLog } from './log.ts';
import { startRuntime, untilStopped } from './runtime.ts';
import { dataContext } from './stores.ts';

/** Runs workflows and data activities until stopped. */
export async function runOrchestrator(
  settings: Settings,
  options: { readonly signal?: AbortSignal } = {},
): Promise<void> {
  const log = startLog('orchestrator');
  startRuntime(log);
  const launchers = loadLaunchers();
  const connection = await connectWorker(settings);
  try {
    await ensureSearchAttributes(connection, settings.namespace);
    const common = {
      connection,
      namespace: settings.namespace,
      shutdownGraceTime: `${DEFAULTS['worker.shutdownGraceSeconds'].value}s`,
    } as const;
    const workflows = await Worker.create({
      ...common,
      taskQueue: QUEUES.orchestrator,
      workflowsPath: fileURLToPath(new URL('../workflows/index.ts', import.meta.url)),
    });
    const context = await dataContext(settings);
    await removeAbandoned(context.cache);
    const data = await Worker.create({
      ...common,
      taskQueue: QUEUES.data,
      activities: {
        ...createDataActivities(context),
        ...createUpkeepActivities(context),
        ...createLauncherActivities(context, launchers),
      },
      interceptors: { activity: [namedFailures] },
    });
    await startLaunchers(new Client({ connection, namespace: settings.namespace }), launchers);
    void untilStopped(options.signal).then((why) => {
      log.info({ why }, 'orchestrator stops');
      for (const worker of [workflows, data]) if (worker.getState() === 'RUNNING') worker.shutdown();
    });
    log.info({ store: settings.store, namespace: settings.namespace }, 'orchestrator ready');
    await Promise.all([workflows.run(), data.run()]);
  } finally {
    await connection.close();
  }
}
