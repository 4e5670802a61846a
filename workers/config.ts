import { homedir } from 'node:os';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import { NativeConnection } from '@temporalio/worker';
import { LiloraError } from '../core/errors.ts';
import { SEARCH_ATTRIBUTES } from '../workflows/contract.ts';

/** Where a process finds its servers and its disk. Everything comes from standard variables and files. */
export interface Settings {
  /** Address, TLS and API key of Temporal, from `TEMPORAL_*` or a `temporal.toml` profile. Never logged. */
  readonly temporal: ReturnType<typeof loadClientConnectConfig>;
  readonly namespace: string;
  /** `s3://bucket/prefix` or a folder. */
  readonly store: string;
  /** Local folder for downloads; may vanish at any time. */
  readonly cache: string;
}

/** Reads the settings of this process; `LILORA_STORE` is required. */
export function loadSettings(env: NodeJS.ProcessEnv = process.env): Settings {
  const store = env['LILORA_STORE'];
  if (!store)
    throw new LiloraError(
      'BadConfig',
      'LILORA_STORE is not set. Name the object store, for example LILORA_STORE=s3://my-bucket/lilora.',
    );
  const temporal = temporalSettings(env);
  return { temporal, namespace: temporal.namespace ?? 'default', store, cache: cacheFolder(env) };
}

/** Temporal's part alone, for commands that touch no store. */
export function temporalSettings(env: NodeJS.ProcessEnv = process.env): Settings['temporal'] {
  const variables = Object.fromEntries(
    Object.entries(env).filter((pair): pair is [string, string] => pair[1] !== undefined),
  );
  return loadClientConnectConfig({ overrideEnvVars: variables });
}

/** `LILORA_CACHE`, else the user's cache folder. */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  return env['LILORA_CACHE'] ?? join(env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'lilora');
}

/** A client for starting and steering workflows. Close its connection when done. */
export async function connectClient(temporal: Settings['temporal']): Promise<Client> {
  const connection = await Connection.connect({
    ...(temporal.connectionOptions as object),
    connectTimeout: '5s',
  }).catch(explain(temporal));
  return new Client({ connection, namespace: temporal.namespace ?? 'default' });
}

/** A connection for workers. */
export function connectWorker(settings: Settings): Promise<NativeConnection> {
  return NativeConnection.connect(settings.temporal.connectionOptions).catch(explain(settings.temporal));
}

function explain(temporal: Settings['temporal']) {
  return (error: unknown): never => {
    const address = temporal.connectionOptions.address ?? 'localhost:7233';
    throw new LiloraError(
      'BadConfig',
      `Temporal does not answer at ${address}: ${error instanceof Error ? error.message : error}. Start it with \`lilora dev\`, or set TEMPORAL_ADDRESS.`,
      { cause: error },
    );
  };
}

/**
 * Registers our search attributes where they are missing. Where that is not allowed (Temporal Cloud), says how a person
 * does it: workflows that set unknown attributes would not start.
 */
export async function ensureSearchAttributes(
  connection: Connection | NativeConnection,
  namespace: string,
): Promise<void> {
  const types = { Keyword: 2, Int: 3, Double: 4 } as const; // temporal.api.enums.v1.IndexedValueType
  const known = await connection.operatorService.listSearchAttributes({ namespace }).then(
    (answer) => answer.customAttributes ?? {},
    () => null,
  );
  const missing = Object.entries(SEARCH_ATTRIBUTES).filter(([name]) => !known || !(name in known));
  if (known && missing.length === 0) return;
  const searchAttributes = Object.fromEntries(missing.map(([name, type]) => [name, types[type]]));
  try {
    await connection.operatorService.addSearchAttributes({ namespace, searchAttributes });
  } catch (error) {
    if (error instanceof Error && /already exists/i.test(error.message)) return;
    const commands = missing.map(
      ([name, type]) => `temporal operator search-attribute create --name ${name} --type ${type}`,
    );
    throw new LiloraError(
      'BadConfig',
      `The namespace ${namespace} lacks search attributes and this client may not add them. Run: ${commands.join('; ')}`,
      { cause: error },
    );
  }
}
