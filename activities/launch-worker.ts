import { InvokeEndpointAsyncCommand, SageMakerRuntimeClient } from '@aws-sdk/client-sagemaker-runtime';
import { ApplicationFailure } from '@temporalio/activity';
import { DEFAULTS } from '../core/defaults.ts';
import { LiloraError } from '../core/errors.ts';
import type { DataContext } from './context.ts';
import { CREDENTIALS, type Launcher, REQUESTS, storeOrder, type WorkerOrder } from './platforms.ts';

/** Longest wait that a platform may ask for, in seconds. */
const LONGEST_WAIT = 600;
/** Characters of an answer that are shown. */
const SHOWN = 300;

export interface LaunchResult {
  readonly started: boolean;
  /** For people: what the platform said. */
  readonly message: string;
  /** When not started: a refusal that only a person can mend is tried again after so long. */
  readonly retrySeconds: number;
}

/**
 * Asks a platform for one worker of this queue. What may pass is thrown as `PlatformUnavailable` and retried with the
 * same key; what a person has to mend (credentials, endpoint) is an answer, so that the launcher lives on and tries later.
 */
export async function launchWorker(
  context: DataContext,
  launcher: Launcher | undefined,
  input: { readonly queue: string; readonly key: string },
): Promise<LaunchResult> {
  const retrySeconds = DEFAULTS['launcher.refusedSeconds'].value;
  try {
    if (!launcher) throw new LiloraError('BadConfig', `No launcher is configured for ${input.queue}.`);
    const order: WorkerOrder = { ...input, idleExitSeconds: launcher.idleExitSeconds };
    const said =
      launcher.platform === 'sagemaker'
        ? await invokeSageMaker(context, launcher, order)
        : await post(launcher, launcher.platform, order);
    return { started: true, message: `${launcher.platform} took the start: ${said}`, retrySeconds: 0 };
  } catch (error) {
    if (!(error instanceof LiloraError) || error.retryable) throw error;
    return { started: false, message: `${error.name}: ${error.message}`, retrySeconds };
  }
}

async function post(launcher: Launcher, platform: keyof typeof CREDENTIALS, order: WorkerOrder): Promise<string> {
  const credentials = CREDENTIALS[platform].map((name) => {
    const value = process.env[name];
    if (!value)
      throw new LiloraError('BadConfig', `${name} is not set: the orchestrator needs it to call ${platform}.`);
    return value;
  });
  const { url, headers, body } = REQUESTS[platform](launcher, order, credentials);
  const response = await fetch(url, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/json' },
    body: JSON.stringify(body),
    redirect: 'error', // credentials go to the endpoint that was configured, nowhere else
    signal: AbortSignal.timeout(DEFAULTS['launcher.requestSeconds'].value * 1000),
  }).catch((error) => {
    throw new LiloraError(
      'PlatformUnavailable',
      `${platform} does not answer: ${error.cause?.message ?? error.message}`,
    );
  });
  const text = (await response.text().catch(() => '')).slice(0, SHOWN);
  if (!response.ok) throw refusal(platform, response.status, text, response.headers.get('retry-after'));
  return text;
}

/** `InvokeEndpointAsync`; credentials by the standard AWS chain, the order through the store. */
async function invokeSageMaker(context: DataContext, launcher: Launcher, order: WorkerOrder): Promise<string> {
  const location = await storeOrder(context, order);
  if (!location.startsWith('s3://'))
    throw new LiloraError('BadConfig', 'SageMaker reads its input from S3: LILORA_STORE must be s3://…');
  const client = new SageMakerRuntimeClient({
    maxAttempts: 1,
    requestHandler: { requestTimeout: DEFAULTS['launcher.requestSeconds'].value * 1000 },
  });
  try {
    const { InferenceId } = await client.send(
      new InvokeEndpointAsyncCommand({
        EndpointName: launcher.endpoint,
        InputLocation: location,
        InferenceId: order.key.replace(/[^A-Za-z0-9-]/g, '-').slice(-64),
        ContentType: 'application/json',
        InvocationTimeoutSeconds: 3600, // the longest that SageMaker allows
      }),
    );
    return `inference ${InferenceId}`;
  } catch (error) {
    const { name, message, $metadata } = error as Error & { $metadata?: { httpStatusCode?: number } };
    throw refusal('sagemaker', $metadata?.httpStatusCode ?? 0, `${name}: ${message}`, null);
  } finally {
    client.destroy();
  }
}

/** An answer other than 2xx as a failure of the closed set. */
export function refusal(platform: string, status: number, text: string, retryAfter: string | null): Error {
  const message = `${platform} answered ${status || 'nothing'}: ${text.slice(0, SHOWN)}`;
  if (status === 401 || status === 403)
    return new LiloraError('BadConfig', `${message}. Check the credentials in the orchestrator's environment.`);
  if (status === 404) return new LiloraError('NotFound', `${message}. Check the endpoint in LILORA_LAUNCHERS.`);
  if (status >= 400 && status < 500 && status !== 408 && status !== 409 && status !== 425 && status !== 429)
    return new LiloraError('BadConfig', message);
  const seconds = Number(retryAfter);
  if (!(seconds > 0)) return new LiloraError('PlatformUnavailable', message);
  return ApplicationFailure.create({
    type: 'PlatformUnavailable',
    message,
    nextRetryDelay: Math.min(seconds, LONGEST_WAIT) * 1000,
  });
}
