import { Agent, request } from 'node:http';
import { Random } from '../learning/training/random.ts';

/** An object that was written, to make events of. */
export interface Written {
  readonly key: string;
  readonly etag: string;
  /** Tells the writes of one key apart. */
  readonly write: number;
}

const BUCKET = 'lilora-test';

/** The message that AWS S3 sends when an object was written or, with another name, deleted. */
export function s3Message({ key, etag, write }: Written, eventName = 'ObjectCreated:Put', bucket = BUCKET): string {
  const record = {
    eventVersion: '2.1',
    eventSource: 'aws:s3',
    awsRegion: 'us-east-1',
    eventTime: new Date(Date.UTC(2026, 0, 1) + write * 1000).toISOString(),
    eventName,
    userIdentity: { principalId: 'EXAMPLE' },
    requestParameters: { sourceIPAddress: '127.0.0.1' },
    responseElements: { 'x-amz-request-id': 'C3D13FE58DE4C810', 'x-amz-id-2': 'EXAMPLE' },
    s3: {
      s3SchemaVersion: '1.0',
      configurationId: 'rule',
      bucket: { name: bucket, ownerIdentity: { principalId: 'EXAMPLE' }, arn: `arn:aws:s3:::${bucket}` },
      object: {
        key: encodeURIComponent(key).replaceAll('%2F', '/').replaceAll('%20', '+'),
        size: 1000,
        eTag: etag,
        sequencer: (write + 2 ** 40).toString(16).toUpperCase(),
      },
    },
  };
  return JSON.stringify({ Records: [record] });
}

export interface Storm {
  readonly messages: readonly string[];
  /** Different writes of manifests among them: what must reach Temporal, however often each comes. */
  readonly writes: number;
}

/**
 * So many messages about some datasets in random order: every manifest written three times with the same bytes and each
 * write told about fifty times, the rest about data files, deletions, manifests of other places, and tests.
 */
export function storm(datasets: ReadonlyArray<{ key: string; etag: string }>, count: number, seed: number): Storm {
  const random = new Random(seed);
  const writes = datasets.flatMap((manifest) => [1, 2, 3].map((write) => ({ ...manifest, write })));
  const messages = writes.flatMap((write) => Array.from({ length: 50 }, () => s3Message(write)));
  while (messages.length < count) {
    const { key, etag } = datasets[random.below(datasets.length)]!;
    const i = messages.length;
    const image = { key: key.replace('dataset.json', `images/train-${i}.png`), etag, write: i };
    const kinds = [
      () => s3Message(image),
      () => s3Message(image),
      () => s3Message(image),
      () => s3Message(image, 'ObjectRemoved:Delete'),
      () => s3Message({ key, etag, write: i }, 'ObjectRemoved:Delete'),
      () => s3Message({ key: `elsewhere/${key}`, etag, write: i }),
      () => s3Message({ key, etag, write: i }, 'ObjectCreated:Put', 'another-bucket'),
      () => JSON.stringify({ Service: 'Amazon S3', Event: 's3:TestEvent', Bucket: BUCKET }),
    ];
    messages.push(kinds[random.below(kinds.length)]!());
  }
  for (let i = messages.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [messages[i], messages[j]] = [messages[j]!, messages[i]!];
  }
  return { messages, writes: writes.length };
}

/**
 * Posts messages over so many connections, as a store does: what is not taken (5xx, 429) is sent again. Gives how often
 * each status was answered.
 */
export async function post(
  url: string,
  headers: Record<string, string>,
  messages: readonly string[],
  connections: number,
): Promise<Record<number, number>> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const statuses: Record<number, number> = {};
  const once = (body: string) =>
    new Promise<number>((answered, failed) => {
      const sent = request(url, { method: 'POST', agent, headers }, (answer) => {
        answer.resume();
        answer.on('end', () => answered(answer.statusCode!));
      });
      sent.on('error', failed);
      sent.end(body);
    });
  const waiting = [...messages];
  const lane = async () => {
    for (let body = waiting.pop(); body !== undefined; body = waiting.pop()) {
      const status = await once(body);
      statuses[status] = (statuses[status] ?? 0) + 1;
      if (status >= 500 || status === 429) {
        await new Promise((wake) => setTimeout(wake, 200));
        waiting.unshift(body);
      }
    }
  };
  await Promise.all(Array.from({ length: connections }, lane));
  agent.destroy();
  return statuses;
}
