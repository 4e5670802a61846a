import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readEvents } from './events.ts';

const fixture = (name: string) => readFileSync(new URL(`../test/fixtures/events/${name}.json`, import.meta.url));
const created = (name: string) => readEvents(fixture(name)).created;

describe('what stores and queues send', () => {
  it.each([
    ['s3-put', 'amzn-s3-demo-bucket', 'datasets/my dogs/dataset.json', 'd41d8cd98f00b204e9800998ecf8427e'],
    ['s3-multipart', 'amzn-s3-demo-bucket', 'datasets/café 100%/dataset.json', 'bccb8986cc6b395e4f045d410c776698-3'],
    ['sns-s3', 'amzn-s3-demo-bucket', 'datasets/my dogs/dataset.json', 'd41d8cd98f00b204e9800998ecf8427e'],
    [
      'eventbridge-created',
      'amzn-s3-demo-bucket',
      'datasets/my dogs+cats/dataset.json',
      'b1946ac92492d2347c6235b4d2611184',
    ],
    ['minio-put', 'images', 'pets/my dogs/dataset.json', '5fc7298143efe1276d39a3466d4e255f-1'],
    ['versitygw-put', 'buck', 'sp ace/d+1/100%/ü&x=1#y?z/dataset.json', '5d41402abc4b2a76b9719d911017c592'],
  ])('%s is one object', (name, bucket, key, etag) => {
    expect(created(name)).toEqual([expect.objectContaining({ bucket, key, etag })]);
    expect(created(name)[0]!.sequencer).not.toBe('');
    expect(created(name)[0]!.time).not.toBe('');
  });

  it.each(['s3-test', 's3-removed', 'eventbridge-deleted', 'versitygw-test'])('%s is no object', (name) => {
    expect(readEvents(fixture(name))).toEqual({ created: [], others: 1 });
  });

  it('the same write has the same marks by every way, so that it is one event', () => {
    expect(created('sns-s3')).toEqual(created('s3-put'));
  });

  it('other events of a bus are counted and ignored', () => {
    const event = { source: 'aws.ec2', 'detail-type': 'EC2 Instance State-change Notification', detail: {} };
    expect(readEvents(JSON.stringify(event))).toEqual({ created: [], others: 1 });
  });
});

describe('hostile and broken messages', () => {
  const put = (change: (record: Record<string, never>) => void) => {
    const value = JSON.parse(fixture('s3-put').toString());
    change(value.Records[0]);
    return JSON.stringify(value);
  };
  const set = (path: string, value: unknown) =>
    put((record) => {
      const names = path.split('.');
      const last = names.pop()!;
      (names.reduce((at, name) => at[name]!, record) as Record<string, unknown>)[last] = value;
    });

  it.each([
    ['no JSON', 'hello'],
    ['another object', '{"foo": 2}'],
    ['a list', '[]'],
    ['null', 'null'],
    ['records that are none', '{"Records": [1]}'],
    ['records of another service', set('eventSource', 'aws:sns')],
    ['a bucket that is a URL', set('s3.bucket.name', 'https://evil.example/')],
    ['no key', set('s3.object.key', undefined)],
    ['an endless key', set('s3.object.key', 'a'.repeat(4000))],
    ['a key that is not encoded', set('s3.object.key', 'a%zz')],
    ['a key in Latin-1', set('s3.object.key', 'caf%E9')],
    ['a number for a tag', set('s3.object.eTag', 7)],
    ['an endless tag', set('s3.object.eTag', 'a'.repeat(300))],
    [
      'too many records',
      JSON.stringify({ Records: Array.from({ length: 1001 }, () => JSON.parse(set('x', 1)).Records[0]) }),
    ],
    ['a body over the limit', JSON.stringify({ Records: [], padding: 'a'.repeat(256 * 1024) })],
    ['deep nesting', `${'{"a":'.repeat(50)}1${'}'.repeat(50)}`],
    ['the prototype', '{"__proto__": {"Records": []}}'],
    [
      'a subscription to a topic',
      '{"Type": "SubscriptionConfirmation", "TopicArn": "t", "Message": "m", "SubscribeURL": "https://x"}',
    ],
  ])('%s is refused as a bad event', (_, body) => {
    expect(() => readEvents(body)).toThrow(expect.objectContaining({ name: 'BadEvent' }));
  });

  it('an envelope in an envelope in an envelope is refused', () => {
    const wrap = (message: string) => JSON.stringify({ Type: 'Notification', TopicArn: 't', Message: message });
    const inner = fixture('s3-put').toString();
    expect(readEvents(wrap(wrap(inner))).created).toHaveLength(1);
    expect(() => readEvents(wrap(wrap(wrap(inner))))).toThrow(expect.objectContaining({ name: 'BadEvent' }));
  });

  it('whatever comes is read or refused as a bad event', () => {
    const names = fc.constantFrom(
      'Records',
      's3',
      'object',
      'key',
      'detail',
      'detail-type',
      'source',
      'Event',
      'Message',
      'TopicArn',
    );
    const value = fc.letrec((tie) => ({
      any: fc.oneof(
        { maxDepth: 4 },
        fc.string(),
        fc.integer(),
        fc.constant(null),
        fc.array(tie('any')),
        fc.dictionary(names, tie('any')),
      ),
    })).any;
    fc.assert(
      fc.property(value, (message) => {
        try {
          const { created, others } = readEvents(JSON.stringify(message));
          expect(created.length + others).toBeGreaterThanOrEqual(0);
        } catch (error) {
          expect((error as Error).name).toBe('BadEvent');
        }
      }),
      { numRuns: 500 },
    );
  });
});

it('keys are decoded as an HTML form encodes them', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }), (key) => {
      const encoded = new URLSearchParams({ key }).toString().slice('key='.length);
      const message = JSON.parse(fixture('s3-put').toString());
      message.Records[0].s3.object.key = encoded;
      expect(readEvents(JSON.stringify(message)).created[0]!.key).toBe(key);
    }),
  );
});
