import { setTimeout as delay } from 'node:timers/promises';
import {
  ChangeMessageVisibilityCommand,
  DeleteMessageBatchCommand,
  GetQueueAttributesCommand,
  type Message,
  ReceiveMessageCommand,
  SQSClient,
} from '@aws-sdk/client-sqs';
import type { Logger } from 'pino';
import { DEFAULTS } from '../core/defaults.ts';
import { isLiloraError, LiloraError } from '../core/errors.ts';
import type { Receiver } from './receive.ts';
import type { Submitter } from './submit.ts';

/** SQS hides no message longer than 12 hours; a quarter of an hour is long enough for us. */
const LONGEST_RETURN = 900;
/** How long a message stays away when Temporal or its workers did not answer, in seconds. */
const UNAVAILABLE_RETURN = DEFAULTS['trigger.submitMinutes'].value * 60;
/** Waits after a failed request to SQS, in milliseconds; the last one repeats. */
const BACK_OFF = [1_000, 5_000, 15_000, 30_000];
/** Failures that no waiting cures. */
const HOPELESS =
  /AccessDenied|NonExistentQueue|QueueDoesNotExist|InvalidAddress|InvalidClientTokenId|SignatureDoesNotMatch|CredentialsProviderError|UnrecognizedClient/;

export interface QueueOptions {
  readonly url: string;
  readonly receiver: Receiver;
  readonly submitter: Submitter;
  readonly log: Logger;
  /** Ends the polling; messages in hand are finished first. */
  readonly signal: AbortSignal;
  /** Time before a message that failed comes back the first time, in seconds; default `sqs.returnSeconds`. */
  readonly returnSeconds?: number;
  /** Longest poll, in seconds; default `sqs.waitSeconds`. */
  readonly waitSeconds?: number;
}

/** A client for the server of the queue; the region is in the URL of AWS, else from the standard configuration. */
function queueClient(url: string): SQSClient {
  const place = URL.canParse(url) ? new URL(url) : null;
  if (!place || !/^https?:$/.test(place.protocol) || place.username !== '')
    throw new LiloraError(
      'BadConfig',
      `${JSON.stringify(url)} is no URL of a queue. Use https://sqs.REGION.amazonaws.com/ACCOUNT/NAME.`,
    );
  const region = /^sqs\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?$/.exec(place.hostname)?.[1];
  return new SQSClient({ endpoint: place.origin, maxAttempts: 3, ...(region ? { region } : {}) });
}

/**
 * Takes events from a queue by long polls until `signal`. A message is deleted only when Temporal holds every submission
 * in it, or when it triggers nothing. What cannot be read or is refused comes back, later each time, until the queue
 * moves it to its dead-letter queue. While Temporal is away nothing is taken, so that no message is used up.
 */
export async function pollQueue(options: QueueOptions): Promise<void> {
  const { url, submitter, log, signal } = options;
  const client = queueClient(url);
  try {
    await warnWithoutDeadLetters(client, url, log);
    for (let failures = 0; !signal.aborted; ) {
      try {
        if (!(await submitter.healthy())) throw new Error('Temporal does not answer');
        const messages = await receive(client, options);
        const done = await Promise.all(messages.map((message) => take(client, message, options)));
        await remove(
          client,
          url,
          done.filter((message) => message !== null),
          log,
        );
        failures = 0;
      } catch (error) {
        if (signal.aborted) break;
        const { name, message } = error as Error;
        if (HOPELESS.test(name))
          throw new LiloraError('BadConfig', `The queue ${url} cannot be read: ${name}: ${message}`, { cause: error });
        const wait = BACK_OFF[Math.min(failures++, BACK_OFF.length - 1)]!;
        log.warn({ reason: message, seconds: wait / 1000 }, 'polling pauses');
        await delay(wait, null, { signal }).catch(() => null);
      }
    }
  } finally {
    client.destroy();
  }
}

async function receive(client: SQSClient, { url, signal, waitSeconds }: QueueOptions): Promise<Message[]> {
  const { Messages } = await client.send(
    new ReceiveMessageCommand({
      QueueUrl: url,
      MaxNumberOfMessages: 10,
      WaitTimeSeconds: waitSeconds ?? DEFAULTS['sqs.waitSeconds'].value,
      VisibilityTimeout: DEFAULTS['sqs.visibilitySeconds'].value,
      MessageSystemAttributeNames: ['ApproximateReceiveCount'],
    }),
    { abortSignal: signal },
  );
  return Messages ?? [];
}

/** The message when it is done with, else null: it comes back. */
async function take(client: SQSClient, message: Message, options: QueueOptions): Promise<Message | null> {
  const { receiver, log } = options;
  const received = Number(message.Attributes?.ApproximateReceiveCount ?? 1);
  const first = options.returnSeconds ?? DEFAULTS['sqs.returnSeconds'].value;
  let wait = Math.min(LONGEST_RETURN, first * 2 ** Math.min(received - 1, 10));
  try {
    const { tasks } = await receiver.receive(message.Body ?? '', { again: received > 1 });
    if (tasks.every(({ outcome }) => outcome.status === 'submitted')) return message;
    // Nobody's fault: it is tried on here meanwhile, and the message is not used up by coming back often.
    if (tasks.some(({ outcome }) => outcome.status === 'unavailable')) wait = Math.max(wait, UNAVAILABLE_RETURN);
  } catch (error) {
    if (!isLiloraError(error, 'BadEvent')) throw error;
    log.warn({ message: message.MessageId, received, reason: error.message }, 'message cannot be read');
  }
  await hide(client, message, Math.ceil(wait), options);
  return null;
}

async function hide(client: SQSClient, message: Message, seconds: number, { url, log }: QueueOptions): Promise<void> {
  const change = { QueueUrl: url, ReceiptHandle: message.ReceiptHandle!, VisibilityTimeout: seconds };
  await client.send(new ChangeMessageVisibilityCommand(change)).catch((error: Error) => {
    log.warn(
      { message: message.MessageId, reason: error.message },
      'message comes back when it was to come back before',
    );
  });
}

async function remove(client: SQSClient, url: string, messages: readonly Message[], log: Logger): Promise<void> {
  if (messages.length === 0) return;
  const { Failed } = await client.send(
    new DeleteMessageBatchCommand({
      QueueUrl: url,
      Entries: messages.map(({ ReceiptHandle }, i) => ({ Id: String(i), ReceiptHandle: ReceiptHandle! })),
    }),
  );
  // They come again and are answered from memory or by Temporal.
  for (const { Code, Message } of Failed ?? []) log.warn({ code: Code, reason: Message }, 'message not deleted');
}

async function warnWithoutDeadLetters(client: SQSClient, url: string, log: Logger): Promise<void> {
  const attributes = await client
    .send(new GetQueueAttributesCommand({ QueueUrl: url, AttributeNames: ['RedrivePolicy'] }))
    .then(
      ({ Attributes }) => Attributes ?? {},
      () => null, // not allowed to ask; what matters shows when messages are taken
    );
  if (attributes && !attributes.RedrivePolicy)
    log.warn({ url }, 'the queue has no dead-letter queue: what cannot be submitted comes back until it expires');
}
