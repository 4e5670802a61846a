import { type Client, WithStartWorkflowOperation, WorkflowNotFoundError } from '@temporalio/client';
import { LiloraError } from '../core/errors.ts';
import { parseJson } from '../core/json.ts';
import { streamKeys } from '../store/generations.ts';
import type { ObjectStore } from '../store/object-store.ts';
import {
  NAME_PATTERN,
  QUEUES,
  type ResolvedStream,
  SCHEMA,
  type StreamDefinition,
  type StreamDescription,
  type StreamInput,
  type Submission,
  type SubmitTask,
  streamWorkflowId,
  UPDATES,
  WORKFLOWS,
} from '../workflows/contract.ts';
import { describeStream, streamHandle } from './connect.ts';
import { definitionOf, mustAgree } from './definition.ts';

type StreamWorkflow = (input: StreamInput) => Promise<void>;

/** How to start a stream's workflow, or find the one that runs: one stream has one workflow. */
const startOptions = (definition: StreamDefinition) => ({
  workflowId: streamWorkflowId(definition.name),
  taskQueue: QUEUES.orchestrator,
  args: [{ schema: SCHEMA, definition }] as [StreamInput],
  workflowIdConflictPolicy: 'USE_EXISTING' as const,
  workflowIdReusePolicy: 'ALLOW_DUPLICATE' as const,
  staticSummary: `Stream ${definition.name}`,
});

/** Defines a stream and waits until it is open. Defining it again in the same words changes nothing. */
export async function createStream(client: Client, definition: StreamDefinition): Promise<StreamDescription> {
  if (!NAME_PATTERN.test(definition.name))
    throw new LiloraError(
      'BadConfig',
      `"${definition.name}" is no stream name: use a-z, 0-9 and -, at most 63 characters.`,
    );
  await client.workflow.start(WORKFLOWS.stream, startOptions(definition));
  for (;;) {
    const description = await describeStream(client, definition.name);
    if (description.definition) {
      mustAgree(definition, description.definition);
      return description;
    }
    await new Promise((wake) => setTimeout(wake, 300));
  }
}

/** Submits a dataset. A stream whose workflow is gone but whose definition is in the store is started again first. */
export async function submitTask(
  client: Client,
  store: () => Promise<ObjectStore>,
  stream: string,
  task: SubmitTask,
): Promise<Submission> {
  try {
    return await streamHandle(client, stream).executeUpdate<Submission, [SubmitTask]>(UPDATES.submitTask, {
      args: [task],
    });
  } catch (error) {
    if (!(error instanceof WorkflowNotFoundError)) throw error;
    const definition = await storedDefinition(await store(), stream);
    if (!definition) throw error;
    return client.workflow.executeUpdateWithStart<StreamWorkflow, Submission, [SubmitTask]>(UPDATES.submitTask, {
      args: [task],
      startWorkflowOperation: new WithStartWorkflowOperation<StreamWorkflow>(
        WORKFLOWS.stream,
        startOptions(definition),
      ),
    });
  }
}

/** The definition that a stream was opened with, from the store; null when it was never defined. */
async function storedDefinition(store: ObjectStore, stream: string): Promise<StreamDefinition | null> {
  const key = streamKeys(stream).definition;
  if (!(await store.head(key))) return null;
  return definitionOf(parseJson((await store.get(key)).bytes, key) as ResolvedStream);
}
