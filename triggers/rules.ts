import { z } from 'zod';
import { LiloraError } from '../core/errors.ts';
import { canonicalJson, parseJson } from '../core/json.ts';
import { DEFINITION_FIELDS, NAME_PATTERN, type StreamDefinition } from '../workflows/contract.ts';
import type { ObjectCreated } from './events.ts';

/** Which stream learns the datasets of a place. */
export interface Rule {
  readonly bucket: string;
  /** Keys that start with it; empty for the whole bucket. */
  readonly prefix: string;
  readonly stream: string;
  /** With it the stream is started when it does not run. */
  readonly definition?: StreamDefinition;
}

/** A dataset that landed, and the stream that it is for. */
export interface Match {
  readonly rule: Rule;
  /** The folder of its `dataset.json`: `s3://bucket/folder`. */
  readonly dataset: string;
}

/** The object that makes a dataset count: it is uploaded last. */
const MANIFEST = 'dataset.json';
const MAX_FILE_BYTES = 2 ** 20;

const definition = z.looseObject({ model: z.string().min(1, 'name the base model') }).superRefine((value, context) => {
  for (const field of Object.keys(value))
    if (field !== 'model' && !DEFINITION_FIELDS.includes(field))
      context.addIssue({
        code: 'custom',
        path: [field],
        message: `a definition has model, ${DEFINITION_FIELDS.join(', ')}`,
      });
});
const rulesFile = z.strictObject({
  schema: z.literal(1, { error: 'this version reads schema 1' }),
  rules: z
    .array(
      z.strictObject({
        bucket: z.string().regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, 'no bucket name'),
        prefix: z
          .string()
          .max(1024)
          .regex(/^(?!\/)/, 'keys do not start with "/"')
          .default(''),
        stream: z.string().regex(NAME_PATTERN, 'use a-z, 0-9 and -, at most 63 characters'),
        definition: definition.optional(),
      }),
    )
    .min(1, 'name at least one place')
    .max(1000),
});

/**
 * Reads a file of rules: `{"schema": 1, "rules": [{"bucket", "prefix", "stream", "definition"?}]}`. `BadConfig` names
 * what is wrong: unknown fields, two rules for one place, one stream with two definitions.
 */
export function readRules(content: Uint8Array | string, file: string): readonly Rule[] {
  const value = parseJson(content, file, { errorName: 'BadConfig', maxBytes: MAX_FILE_BYTES });
  const result = rulesFile.safeParse(value);
  if (!result.success) throw new LiloraError('BadConfig', `${file}: ${z.prettifyError(result.error)}`);
  const rules = result.data.rules.map(({ definition, ...rule }): Rule => {
    return definition ? { ...rule, definition: { ...definition, name: rule.stream } as StreamDefinition } : rule;
  });
  refuseContradictions(rules, file);
  return rules;
}

function refuseContradictions(rules: readonly Rule[], file: string): void {
  const places = new Set<string>();
  const definitions = new Map<string, string>();
  for (const { bucket, prefix, stream, definition } of rules) {
    const place = `s3://${bucket}/${prefix}`;
    if (places.has(place)) throw new LiloraError('BadConfig', `${file}: two rules are for ${place}. Keep one.`);
    places.add(place);
    if (!definition) continue;
    const text = canonicalJson(definition);
    if ((definitions.get(stream) ?? text) !== text)
      throw new LiloraError('BadConfig', `${file}: stream ${stream} is defined in two ways. Keep one definition.`);
    definitions.set(stream, text);
  }
}

/**
 * The rule with the longest prefix that fits, when the object is a `dataset.json`; else null: it triggers nothing.
 * Neither do keys with parts such as `..` or an empty one, which may mean another object on their way.
 */
export function match(rules: readonly Rule[], { bucket, key }: Pick<ObjectCreated, 'bucket' | 'key'>): Match | null {
  const parts = key.split('/');
  if (parts.at(-1) !== MANIFEST || parts.some((part) => part === '' || part === '.' || part === '..')) return null;
  let best: Rule | null = null;
  for (const rule of rules)
    if (rule.bucket === bucket && key.startsWith(rule.prefix) && rule.prefix.length >= (best?.prefix.length ?? 0))
      best = rule;
  return best && { rule: best, dataset: `s3://${bucket}/${key.slice(0, -MANIFEST.length)}`.replace(/\/$/, '') };
}
