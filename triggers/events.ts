import { z } from 'zod';
import { DEFAULTS } from '../core/defaults.ts';
import { LiloraError } from '../core/errors.ts';
import { parseJson } from '../core/json.ts';

/** One object that was written, as its store told it. */
export interface ObjectCreated {
  readonly bucket: string;
  /** The key as it is in the store, not as it is encoded in some messages. */
  readonly key: string;
  /** Without quotes; empty where the store gives none. */
  readonly etag: string;
  /** Tells two writes of the same key apart; only versitygw counts it from 1 again after a restart. */
  readonly sequencer: string;
  /** When the store wrote it, as it says so. */
  readonly time: string;
}

export interface ReadEvents {
  readonly created: readonly ObjectCreated[];
  /** Deletions, test events and whatever else is no written object. */
  readonly others: number;
}

const MAX_BYTES = DEFAULTS['trigger.maxBodyKibibytes'].value * 1024;
/** SNS wraps an event once, SQS hands us its body: deeper than this nothing real is. */
const MAX_WRAPS = 2;

const bucketName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9.-]{1,61}[A-Za-z0-9]$/, 'no bucket name');
/** S3 allows keys of 1024 bytes; encoded, each byte may take three characters. */
const key = z.string().min(1).max(3072);
const mark = z.string().max(256).nullish();

/** One entry of `Records[]`: AWS, MinIO and versitygw. */
const s3Record = z.object({
  eventSource: z.enum(['aws:s3', 'minio:s3']),
  eventName: z.string().max(128),
  eventTime: z.string().max(64),
  s3: z.object({
    bucket: z.object({ name: bucketName, arn: z.string().max(4096).optional() }),
    object: z.object({ key, eTag: mark, sequencer: mark }),
  }),
});
const s3Notification = z.object({ Records: z.array(s3Record).max(DEFAULTS['trigger.maxRecords'].value) });
const s3TestEvent = z.object({ Event: z.literal('s3:TestEvent'), Bucket: z.string().max(256) });
const snsNotification = z.object({ Type: z.literal('Notification'), TopicArn: z.string(), Message: z.string() });
const eventBridge = z.object({ source: z.string().max(256), 'detail-type': z.string().max(128), detail: z.unknown() });
const objectCreated = z.object({
  time: z.string().max(64),
  detail: z.object({ bucket: z.object({ name: bucketName }), object: z.object({ key, etag: mark, sequencer: mark }) }),
});

/**
 * Reads one message about objects: an S3 notification (AWS, MinIO, versitygw), the same inside an SNS envelope, an
 * EventBridge event, or a test event. `BadEvent` when it is none of these or breaks a limit.
 */
export function readEvents(body: Uint8Array | string): ReadEvents {
  return readValue(parseJson(body, 'event', { errorName: 'BadEvent', maxBytes: MAX_BYTES, maxDepth: 16 }));
}

/** As `readEvents`, from a message that is parsed already. */
export function readValue(value: unknown, wraps = 0): ReadEvents {
  const has = (name: string) => typeof value === 'object' && value !== null && Object.hasOwn(value, name);
  if (has('Records')) return readNotification(check(s3Notification, value));
  if (has('detail-type')) return readEventBridge(check(eventBridge, value), value);
  if (has('Event')) {
    check(s3TestEvent, value);
    return { created: [], others: 1 };
  }
  if (has('TopicArn') && wraps < MAX_WRAPS) {
    const { Message } = check(snsNotification, value);
    return readValue(parseJson(Message, 'event: Message', { errorName: 'BadEvent', maxDepth: 16 }), wraps + 1);
  }
  throw new LiloraError(
    'BadEvent',
    'This is no message about objects. Send S3 notifications (`Records`), SNS notifications of them, or EventBridge events of S3.',
  );
}

function readNotification({ Records }: z.infer<typeof s3Notification>): ReadEvents {
  const created = Records.filter(({ eventName }) => /^(s3:)?ObjectCreated:/.test(eventName)).map(
    ({ s3: { bucket, object }, eventTime }) => {
      // versitygw writes the path of the object into the bucket's ARN, and its keys as they are.
      const plain = bucket.arn?.startsWith('arn:aws:s3:::/') ?? false;
      return objectOf(
        bucket.name,
        plain ? object.key : decodeKey(object.key),
        object.eTag,
        object.sequencer,
        eventTime,
      );
    },
  );
  return { created, others: Records.length - created.length };
}

function readEventBridge(envelope: z.infer<typeof eventBridge>, value: unknown): ReadEvents {
  if (envelope.source !== 'aws.s3' || envelope['detail-type'] !== 'Object Created') return { created: [], others: 1 };
  const { time, detail } = check(objectCreated, value);
  // Keys are not encoded here, unlike in notifications.
  return {
    created: [objectOf(detail.bucket.name, detail.object.key, detail.object.etag, detail.object.sequencer, time)],
    others: 0,
  };
}

function objectOf(
  bucket: string,
  name: string,
  etag: string | null | undefined,
  sequencer: string | null | undefined,
  time: string,
): ObjectCreated {
  return { bucket, key: name, etag: (etag ?? '').replace(/^"(.*)"$/, '$1'), sequencer: sequencer ?? '', time };
}

/** Keys in notifications are encoded as in HTML forms: `+` is a space. */
function decodeKey(encoded: string): string {
  try {
    return decodeURIComponent(encoded.replaceAll('+', ' '));
  } catch {
    throw new LiloraError('BadEvent', `The key ${JSON.stringify(encoded)} of an event is not URL-encoded UTF-8.`);
  }
}

function check<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issues = result.error.issues.slice(0, 5).map(({ path, message }) => `${path.join('.')}: ${message}`);
  throw new LiloraError('BadEvent', `The event cannot be read: ${issues.join('; ')}.`);
}
