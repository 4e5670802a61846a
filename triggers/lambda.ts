import { readFileSync } from 'node:fs';
import { Client, Connection } from '@temporalio/client';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import pino, { type Logger } from 'pino';
import { LiloraError } from '../core/errors.ts';
import { readValue } from './events.ts';
import { Receiver } from './receive.ts';
import { readRules } from './rules.ts';
import { Submitter } from './submit.ts';

/** One message of a queue, as Lambda hands it over. */
interface SqsRecord {
  readonly messageId: string;
  readonly body: string;
  readonly attributes?: { readonly ApproximateReceiveCount?: string };
}

/** What is used of the context of an invocation. */
export interface LambdaContext {
  getRemainingTimeInMillis(): number;
}

/** Tells Lambda which messages of a batch to keep; the function needs `ReportBatchItemFailures` for it. */
export interface BatchResponse {
  readonly batchItemFailures: ReadonlyArray<{ readonly itemIdentifier: string }>;
}

/** Time for the answer, kept from the time that an invocation has, in milliseconds. */
const RESERVE = 1000;

/**
 * The function behind SQS, S3 notifications or EventBridge. From SQS, messages that could not be submitted stay in the
 * queue and end in its dead-letter queue; from the others the invocation fails, so that Lambda repeats it.
 */
export function createHandler(receiver: Receiver, log: Logger) {
  return async (event: unknown, context: LambdaContext): Promise<BatchResponse | undefined> => {
    const answerWithin = Math.max(0, context.getRemainingTimeInMillis() - RESERVE);
    const messages = sqsRecords(event);
    if (!messages) {
      const { tasks } = await receiver.take(readValue(event), { answerWithin });
      const failed = tasks.flatMap(({ outcome }) => (outcome.status === 'submitted' ? [] : [outcome.reason]));
      if (failed.length > 0) throw new Error(failed.join('; '));
      return undefined;
    }
    const failures = await Promise.all(
      messages.map(async ({ messageId, body, attributes }) => {
        try {
          const again = Number(attributes?.ApproximateReceiveCount ?? 1) > 1;
          const { tasks } = await receiver.receive(body, { answerWithin, again });
          return tasks.every(({ outcome }) => outcome.status === 'submitted') ? [] : [{ itemIdentifier: messageId }];
        } catch (error) {
          log.warn({ message: messageId, reason: (error as Error).message }, 'message cannot be read');
          return [{ itemIdentifier: messageId }];
        }
      }),
    );
    return { batchItemFailures: failures.flat() };
  };
}

function sqsRecords(event: unknown): readonly SqsRecord[] | null {
  const { Records } = (event ?? {}) as { Records?: unknown };
  if (!Array.isArray(Records) || Records.length === 0) return null;
  return Records.every((record) => record?.eventSource === 'aws:sqs') ? Records : null;
}

let ready: Promise<ReturnType<typeof createHandler>> | null = null;

/**
 * The entry point. `LILORA_RULES` is the file of rules in the package, or the rules themselves as JSON; Temporal is found
 * by its standard variables. The connection is kept between invocations.
 */
export async function handler(event: unknown, context: LambdaContext): Promise<BatchResponse | undefined> {
  ready ??= start().catch((error: unknown) => {
    ready = null;
    throw error;
  });
  return (await ready)(event, context);
}

async function start(): Promise<ReturnType<typeof createHandler>> {
  const log = pino({ base: { role: 'trigger' }, level: process.env['LILORA_LOG_LEVEL'] ?? 'info' });
  const named = process.env['LILORA_RULES'] ?? '';
  if (named === '')
    throw new LiloraError('BadConfig', 'LILORA_RULES is not set: a file of rules, or the rules as JSON.');
  const inline = named.trimStart().startsWith('{');
  const rules = readRules(inline ? named : readFileSync(named), inline ? 'LILORA_RULES' : named);
  const { connectionOptions, namespace } = loadClientConnectConfig();
  const client = new Client({ connection: Connection.lazy(connectionOptions), namespace: namespace ?? 'default' });
  return createHandler(new Receiver(rules, new Submitter(client), log), log);
}
