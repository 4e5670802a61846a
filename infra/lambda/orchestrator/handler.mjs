/**
 * The orchestrator as two Lambda functions of one package, started by Temporal's worker controller (provider aws-lambda) when tasks wait:
 * LILORA_ROLE=workflows decides, LILORA_ROLE=data does the steps that need no GPU. Each is a Worker Deployment of its own.
 *
 *   LILORA_ROLE, LILORA_STORE, TEMPORAL_*, LILORA_BUILD_ID (default: version of the code)
 */
import { runWorker } from '@temporalio/lambda-worker';
import { createDataActivities } from '../../../activities/data.ts';
import { namedFailures } from '../../../activities/failures.ts';
import { createLauncherActivities } from '../../../activities/launcher.ts';
import { loadSettings } from '../../../workers/config.ts';
import { dataContext } from '../../../workers/stores.ts';
import { QUEUES } from '../../../workflows/contract.ts';

/** Set by the build. */
/* global LILORA_CODE_VERSION */
const version = LILORA_CODE_VERSION;
const role = process.env.LILORA_ROLE;
if (role !== 'workflows' && role !== 'data') throw new Error('LILORA_ROLE is "workflows" or "data".');

// Lambda lets a function write to /tmp only.
process.env.LILORA_CACHE ??= '/tmp/lilora';
const context = role === 'data' ? await dataContext(loadSettings(), version) : null;

export const handler = runWorker(
  {
    deploymentName: role === 'workflows' ? QUEUES.orchestrator : QUEUES.data,
    buildId: process.env.LILORA_BUILD_ID ?? version,
  },
  ({ workerOptions }) => {
    if (context) {
      workerOptions.taskQueue = QUEUES.data;
      workerOptions.activities = { ...createDataActivities(context), ...createLauncherActivities(context, []) };
      workerOptions.interceptors = { activity: [namedFailures] };
    } else {
      workerOptions.taskQueue = QUEUES.orchestrator;
      workerOptions.workflowBundle = { codePath: new URL('workflows.js', import.meta.url).pathname };
      // Streams live for months: they move on to new code at their next task, which replays what was stored.
      workerOptions.workerDeploymentOptions = { defaultVersioningBehavior: 'AUTO_UPGRADE' };
    }
  },
);
