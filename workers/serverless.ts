import { readFile } from 'node:fs/promises';
import { type Client, defaultPayloadConverter, isGrpcServiceError } from '@temporalio/client';
import { z } from 'zod';
import { LiloraError } from '../core/errors.ts';
import { parseJson } from '../core/json.ts';

/** How Temporal's worker controller starts workers: a compute provider and, where its default does not fit, a scaler. */
const computeSchema = z.strictObject({
  /** A provider that the server allows: gcp-cloud-run, aws-ecs, k8s, subprocess (development only), … */
  provider: z.string().min(1),
  /** What that provider asks for. Everybody who may read the namespace can read it. */
  details: z.record(z.string(), z.unknown()),
  scaler: z.strictObject({ type: z.string().min(1), details: z.record(z.string(), z.unknown()) }).optional(),
});
export type Compute = z.infer<typeof computeSchema>;

export interface ServerlessQueue {
  readonly queue: string;
  /** Name of the Worker Deployment; its workers are told the same one. */
  readonly deployment: string;
  /** Version of the code that its workers run. */
  readonly buildId: string;
  readonly compute: Compute;
}

/** Proto enums: temporal.api.enums.v1.TaskQueueType and WorkerVersioningMode. */
const [ACTIVITY_QUEUE, VERSIONED] = [2, 2];
/** gRPC status codes. */
const [INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, ALREADY_EXISTS, FAILED_PRECONDITION] = [3, 4, 5, 6, 9];
const UNIMPLEMENTED = 12;
/** Key of the one scaling group that we make. */
const GROUP = 'gpu';
/** The shortest poll that the server takes, in milliseconds. */
const SHORT_POLL = 3000;

/**
 * Tells the worker controller of the server (1.31 or later) to start a worker whenever a task of the queue finds none,
 * and sends the queue's tasks to this version. Repeating it with other details changes them. No worker is started here:
 * the controller would start one only to make the queue known, so we do that ourselves, with one empty poll.
 */
export async function registerServerless(client: Client, wanted: ServerlessQueue): Promise<void> {
  const { workflowService } = client.connection;
  const { namespace } = client.options;
  const { queue, deployment: deploymentName, buildId, compute } = wanted;
  const deploymentVersion = { deploymentName, buildId };
  const requestId = () => crypto.randomUUID();
  const unlessThere = (error: unknown) => {
    if (!isGrpcServiceError(error) || error.code !== ALREADY_EXISTS) throw error;
  };
  try {
    await workflowService
      .createWorkerDeployment({ namespace, deploymentName, requestId: requestId() })
      .catch(unlessThere);
    await workflowService
      .createWorkerDeploymentVersion({ namespace, deploymentVersion, requestId: requestId() })
      .catch(unlessThere);
    const { versionTaskQueues } = await workflowService.describeWorkerDeploymentVersion({
      namespace,
      deploymentVersion,
    });
    if (!versionTaskQueues?.some(({ name }) => name === queue)) await makeKnown(client, wanted);
    await workflowService.updateWorkerDeploymentVersionComputeConfig({
      namespace,
      deploymentVersion,
      requestId: requestId(),
      computeConfigScalingGroups: {
        [GROUP]: {
          scalingGroup: {
            taskQueueTypes: [ACTIVITY_QUEUE],
            provider: { type: compute.provider, details: defaultPayloadConverter.toPayload(compute.details)! },
            scaler: compute.scaler && {
              type: compute.scaler.type,
              details: defaultPayloadConverter.toPayload(compute.scaler.details)!,
            },
          },
          updateMask: { paths: ['task_queue_types', 'provider', 'scaler'] },
        },
      },
    });
    await workflowService.setWorkerDeploymentCurrentVersion({
      namespace,
      deploymentName,
      buildId,
      allowNoPollers: true, // that is the point
    });
  } catch (error) {
    throw explained(error, compute);
  }
}

/**
 * Takes a deployment's versions from the worker controller, all but `keep`: it starts no more workers for them. Without
 * `keep` the queue's tasks go to ordinary workers again. Pools keep the size that they have.
 */
export async function unregisterServerless(client: Client, deploymentName: string, keep?: string): Promise<void> {
  const { workflowService } = client.connection;
  const { namespace } = client.options;
  const found = await workflowService.describeWorkerDeployment({ namespace, deploymentName }).catch((error) => {
    if (isGrpcServiceError(error) && (error.code === NOT_FOUND || error.code === UNIMPLEMENTED)) return null;
    throw error;
  });
  if (!found) return;
  if (keep === undefined)
    await workflowService.setWorkerDeploymentCurrentVersion({
      namespace,
      deploymentName,
      buildId: '', // none: what no version claims
      allowNoPollers: true,
      ignoreMissingTaskQueues: true,
    });
  for (const { deploymentVersion, computeConfig } of found.workerDeploymentInfo?.versionSummaries ?? []) {
    const groups = Object.keys(computeConfig?.scalingGroups ?? {});
    if (groups.length > 0 && deploymentVersion?.buildId !== keep)
      await workflowService.updateWorkerDeploymentVersionComputeConfig({
        namespace,
        deploymentVersion,
        requestId: crypto.randomUUID(),
        removeComputeConfigScalingGroups: groups,
      });
  }
}

/** Polls the queue once as a worker of this version, which makes the server know that the version serves the queue. */
async function makeKnown(client: Client, { queue, deployment: deploymentName, buildId }: ServerlessQueue) {
  const { workflowService } = client.connection;
  const { namespace, identity } = client.options;
  const answer = await client
    .withDeadline(Date.now() + SHORT_POLL, () =>
      workflowService.pollActivityTaskQueue({
        namespace,
        identity,
        taskQueue: { name: queue },
        deploymentOptions: { deploymentName, buildId, workerVersioningMode: VERSIONED },
      }),
    )
    .catch((error) => {
      if (!isGrpcServiceError(error) || error.code !== DEADLINE_EXCEEDED) throw error;
      return null; // the poll ended on our side first: nothing came
    });
  if (!answer?.taskToken?.length) return;
  // The version was current already, and a task waited: hand it back, its retry starts a worker.
  await workflowService.respondActivityTaskFailed({
    namespace,
    identity,
    taskToken: answer.taskToken,
    failure: {
      message: 'Registering a serverless queue took this task by chance.',
      applicationFailureInfo: { type: 'EngineLost' },
    },
  });
}

/** A provider file for `registerServerless`. */
export async function readCompute(file: string): Promise<Compute> {
  const bytes = await readFile(file).catch((error) => {
    throw new LiloraError('BadConfig', `${file} cannot be read: ${error.message}. Name a JSON file.`);
  });
  const parsed = computeSchema.safeParse(parseJson(bytes, file, { errorName: 'BadConfig' }));
  if (parsed.success) {
    refuseSecrets(parsed.data.details);
    return parsed.data;
  }
  throw new LiloraError(
    'BadConfig',
    `${file}: ${z.prettifyError(parsed.error)}. It holds {"provider": "…", "details": {…}}, and a "scaler" if wanted.`,
  );
}

/** Details are stored in the namespace as they are: nothing in them may be worth stealing. */
function refuseSecrets(details: unknown): void {
  if (typeof details !== 'object' || details === null) return;
  for (const [name, value] of Object.entries(details)) {
    if (/kubeconfig|secret|passw|token|private|credential|authorization|api_?key/i.test(name))
      throw new LiloraError(
        'BadConfig',
        `The provider's detail "${name}" would be readable by everybody who may read this namespace. Give the Temporal server an identity of its own on that platform instead.`,
      );
    refuseSecrets(value);
  }
}

function explained(error: unknown, { provider }: Compute): unknown {
  if (!isGrpcServiceError(error)) return error;
  if (error.code === UNIMPLEMENTED)
    return new LiloraError(
      'BadConfig',
      'This Temporal server has no worker controller: serverless workers need server 1.31 or later.',
      { cause: error },
    );
  if (error.code !== INVALID_ARGUMENT && error.code !== FAILED_PRECONDITION) return error;
  const next = /instantiate|not enabled|unknown/i.test(error.details)
    ? 'Its operator allows providers with the dynamic configuration workercontroller.enabled and workercontroller.compute_providers.enabled'
    : 'Correct the details and register again';
  return new LiloraError(
    'BadConfig',
    `The Temporal server does not take compute provider ${provider}: ${error.details.replace(/\.+$/, '')}. ${next}.`,
    { cause: error },
  );
}
