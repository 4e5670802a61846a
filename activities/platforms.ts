import type { DataContext } from './context.ts';

/** How workers of one GPU task queue are started: a line of the orchestrator's `LILORA_LAUNCHERS`. Holds no secret. */
export interface Launcher {
  readonly queue: string;
  readonly platform: 'runpod' | 'modal' | 'sagemaker' | 'http';
  /** Where the function is called; for SageMaker the endpoint's name. */
  readonly endpoint: string;
  readonly maxWorkers: number;
  readonly idleExitSeconds: number;
  readonly startSeconds: number;
  readonly pollSeconds: number;
}

/** What the remote function is told. Where Temporal and the store are it knows from its own platform's secrets. */
export interface WorkerOrder {
  readonly queue: string;
  readonly idleExitSeconds: number;
  /** The same for every retry of one start. */
  readonly key: string;
}

/** One HTTP request; `headers` hold credentials and are never logged. */
export interface PlatformRequest {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: object;
}

/** The names of the environment variables that hold a platform's credentials, in the order its builder takes them. */
export const CREDENTIALS = {
  runpod: ['RUNPOD_API_KEY'],
  modal: ['MODAL_KEY', 'MODAL_SECRET'],
  http: ['LILORA_LAUNCHER_TOKEN'],
} as const;

type Builder = (launcher: Launcher, order: WorkerOrder, credentials: readonly string[]) => PlatformRequest;

/** Request builders of the platforms that one HTTP POST starts a function on. */
export const REQUESTS: Record<keyof typeof CREDENTIALS, Builder> = {
  /** A queue-based endpoint: `/run` answers with the job's id at once (https://docs.runpod.io/serverless/endpoints/operations). */
  runpod: ({ endpoint }, order, [key]) => ({
    url: `${endpoint.replace(/\/$/, '')}/run`,
    headers: { authorization: `Bearer ${key}` },
    body: { input: order },
  }),
  /** A web endpoint behind proxy authentication (https://modal.com/docs/guide/webhook-proxy-auth). */
  modal: ({ endpoint }, order, [key, secret]) => ({
    url: endpoint,
    headers: { 'modal-key': key!, 'modal-secret': secret! },
    body: order,
  }),
  /** Anything that answers a POST with 2xx as soon as it has taken the order. */
  http: ({ endpoint }, order, [token]) => ({
    url: endpoint,
    headers: { authorization: `Bearer ${token}`, 'idempotency-key': order.key },
    body: order,
  }),
};

/** Asynchronous inference reads its input from S3: the order as an object, written once. */
export async function storeOrder({ store }: DataContext, order: WorkerOrder): Promise<string> {
  const key = `launches/${order.key}.json`;
  await store.create(key, Buffer.from(JSON.stringify(order)));
  return `${store.describe()}/${key}`;
}
