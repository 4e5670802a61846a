import type { Client, WorkflowHandle } from '@temporalio/client';
import { LiloraError } from '../core/errors.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { openStore } from '../store/open.ts';
import type { Settings } from '../workers/config.ts';
import { QUERIES, type StreamDescription, streamWorkflowId } from '../workflows/contract.ts';
import { verbEnvironment } from './place.ts';

// The SDK's native part takes a second to load: `--help` and the verbs without a server do without it.

/** Makes what `verbEnvironment` found visible to the AWS SDK, which reads the process's environment. */
export function adoptEnvironment(): NodeJS.ProcessEnv {
  return Object.assign(process.env, verbEnvironment());
}

/** Runs a verb with a Temporal client and closes it. */
export async function withClient<T>(run: (client: Client) => Promise<T>): Promise<T> {
  const { connectClient, temporalSettings } = await import('../workers/config.ts');
  const client = await connectClient(temporalSettings(adoptEnvironment()));
  try {
    return await run(client);
  } finally {
    await client.connection.close();
  }
}

/** Settings of this verb; `BadConfig` when no store is named. */
export async function verbSettings(): Promise<Settings> {
  const { loadSettings } = await import('../workers/config.ts');
  return loadSettings(adoptEnvironment());
}

/** The store of streams. */
export async function verbStore(): Promise<ObjectStore> {
  return openStore((await verbSettings()).store);
}

export function streamHandle(client: Client, stream: string): WorkflowHandle {
  return client.workflow.getHandle(streamWorkflowId(stream));
}

/** What a stream says of itself. A closed stream is an error that says why it closed. */
export async function describeStream(client: Client, stream: string): Promise<StreamDescription> {
  const handle = streamHandle(client, stream);
  const { status } = await handle.describe();
  if (status.name !== 'RUNNING') {
    await handle.result(); // throws its failure
    throw new LiloraError(
      'NotFound',
      `Stream ${stream} has ended (${status.name}). Define it again with \`lilora create\`.`,
    );
  }
  return handle.query<StreamDescription>(QUERIES.describe);
}
