import type { Manifest } from '../manifest.ts';
import { holds } from './values.ts';

/** One value that no form read. */
export interface Unread {
  /** As people find it: `source`, `messages[].weight`. */
  readonly key: string;
  readonly name: string;
  readonly value: unknown;
  readonly isIgnored: boolean;
}

/**
 * An object of a sample that remembers which of its keys were read, so that nothing can be passed over. Keys that the manifest
 * ignores seem to be absent.
 */
export class Fields {
  readonly manifest: Manifest;
  /** Whether objects hold nulls for keys that only others have, as in tables. */
  readonly isTable: boolean;
  private readonly values: Readonly<Record<string, unknown>>;
  private readonly path: string;
  private readonly taken = new Set<string>();
  private readonly left = new Set<string>();
  private readonly within: Fields[];

  /** @param path of the object within the sample, for messages: `messages[].`; empty for the sample itself */
  constructor(
    values: Readonly<Record<string, unknown>>,
    manifest: Manifest,
    isTable = false,
    path = '',
    all: Fields[] = [],
  ) {
    this.isTable = isTable;
    this.values = values;
    this.manifest = manifest;
    this.path = path;
    this.within = all;
    all.push(this);
  }

  /** An object that stands within this one. */
  inside(values: Readonly<Record<string, unknown>>, path: string): Fields {
    return new Fields(values, this.manifest, this.isTable, `${this.path}${path}.`, this.within);
  }

  /** Keys that hold something. */
  get keys(): string[] {
    return Object.keys(this.values).filter((key) => this.has(key));
  }

  /** Whether the key is there at all, be it null. */
  isPresent(key: string): boolean {
    return Object.hasOwn(this.values, key) && !this.manifest.ignore?.includes(key);
  }

  /** Whether something stands under a key. */
  has(key: string): boolean {
    return holds(this.peek(key));
  }

  /** What stands under a key, without reading it; null where there is nothing. */
  peek(key: string): unknown {
    return this.isPresent(key) ? (this.values[key] ?? null) : null;
  }

  /** Reads a key: what stands there is used from now on. Null where there is nothing. */
  take(key: string): unknown {
    this.taken.add(key);
    return this.peek(key);
  }

  /** Leaves something out because a setting of the manifest says so; it is told as what `ignore` names. */
  leave(key: string): void {
    this.taken.add(key);
    this.left.add(key);
  }

  /** What holds something and was not read, here and within. */
  unread(): Unread[] {
    return this.within.flatMap(({ values, path, taken, left, manifest }) => [
      ...Object.entries(values)
        .filter(([name, value]) => !taken.has(name) && holds(value))
        .map(([name, value]) => {
          const isIgnored = manifest.ignore?.includes(name) ?? false;
          return { key: `${path}${name}`, name, value, isIgnored };
        }),
      ...[...left].map((name) => ({ key: `${path}${name}`, name, value: null, isIgnored: true })),
    ]);
  }
}
