import { LiloraError } from '../core/errors.ts';
import { canonicalJson } from '../core/json.ts';
import type { ResolvedStream, StreamDefinition } from '../workflows/contract.ts';

/**
 * Where a definition asks for something else than what a stream has: dotted names of the fields. What it leaves open
 * fits anything. The model is compared by its URI only.
 */
export function differences(wanted: StreamDefinition, found: ResolvedStream): string[] {
  const { model, base, method, options, router, training, ...rest } = wanted;
  return [
    // A stream from before bases had names goes on under any.
    ...(found.base ? compare('base', base, found.base) : []),
    ...compare('model', model, found.model.uri),
    ...compare('method', method, found.method.name),
    ...compare('options', options, found.method.options),
    ...compare('router', router, found.router ?? 'none'),
    // One worker leaves no trace in a definition.
    ...compare('training', training, { workers: 1, ...found.training }),
    ...Object.entries(rest).flatMap(([name, value]) => compare(name, value, found[name as keyof ResolvedStream])),
  ];
}

function compare(name: string, wanted: unknown, found: unknown): string[] {
  if (wanted === undefined) return [];
  if (isPlain(wanted) && isPlain(found))
    return Object.entries(wanted).flatMap(([key, value]) => compare(`${name}.${key}`, value, found[key]));
  return canonicalJson(wanted) === canonicalJson(found ?? null) ? [] : [name];
}

const isPlain = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What to hand to the `stream` workflow to go on with a stream that was defined before. */
export function definitionOf({ model, method, schema: _, ...rest }: ResolvedStream): StreamDefinition {
  return { ...rest, model: model.uri, method: method.name, options: method.options };
}

/** Refuses to go on with a stream that is defined otherwise. */
export function mustAgree(wanted: StreamDefinition, found: ResolvedStream): void {
  const names = differences(wanted, found);
  if (names.length === 0) return;
  throw new LiloraError(
    'Conflict',
    `Stream ${wanted.name} exists with another ${names.join(', ')}. A stream's definition never changes: use the same one, or another name.`,
  );
}
