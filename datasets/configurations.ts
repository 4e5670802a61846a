import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { LiloraError } from '../core/errors.ts';
import { splitOf } from './find-splits.ts';
import type { SplitName } from './manifest.ts';
import { quote } from './problems.ts';

/** What the card of a dataset (README.md of the Hub) says of one of its configurations. */
export interface Configuration {
  readonly name: string;
  readonly isDefault: boolean;
  /** Patterns of files by the name of a split; null: its files are told by their names. */
  readonly splits: ReadonlyMap<string, readonly string[]> | null;
  /** The folder in which its files lie; empty: that of the dataset. */
  readonly folder: string;
}

/** The configurations that README.md lists (`configs:` at its head); none when it lists none. */
export async function configurationsOf(root: string): Promise<Configuration[]> {
  const text = await readFile(join(root, 'README.md'), 'utf8').catch(() => '');
  const [, head] = /^\ufeff?---\r?\n([\s\S]*?)\r?\n---/.exec(text) ?? [];
  if (head === undefined || head.length > 2 ** 22) return [];
  let card: unknown;
  try {
    card = parse(head, { maxAliasCount: 100 });
  } catch {
    // A card that is no YAML says nothing of the files.
    return [];
  }
  const configs = isRecord(card) && Array.isArray(card['configs']) ? (card['configs'] as unknown[]) : [];
  return configs.filter(isRecord).map((config) => {
    const name = typeof config['config_name'] === 'string' ? config['config_name'] : 'default';
    const folder = typeof config['data_dir'] === 'string' ? plain(config['data_dir']) : '';
    const splits = splitsIn(config['data_files'], folder);
    return { name, folder, splits, isDefault: config['default'] === true || name === 'default' };
  });
}

/** The configuration that is meant. `BadDataset` where there are several and none is named or the default. */
export function chosenConfiguration(
  configs: readonly Configuration[],
  name: string | undefined,
): Configuration | undefined {
  if (configs.length === 0) return undefined;
  const names = configs.map((config) => config.name).join(', ');
  if (name !== undefined) {
    const found = configs.find((config) => config.name === name);
    if (found) return found;
    throw new LiloraError('BadDataset', `README.md: there is no configuration ${quote(name)}. It has ${names}.`);
  }
  const found = configs.length === 1 ? configs[0] : configs.find(({ isDefault }) => isDefault);
  if (found) return found;
  throw new LiloraError(
    'BadDataset',
    `README.md: there are several configurations: ${names}. Choose one, as in --config ${configs[0]!.name}.`,
  );
}

/** The files of a configuration by split, and names of its splits that are none here, such as `testdev`. */
export function filesOf(
  { splits, name }: Configuration,
  paths: readonly string[],
): { splits: Partial<Record<SplitName, string[]>>; others: string[] } {
  const found: Partial<Record<SplitName, string[]>> = {};
  const meant = new Map<SplitName, string>();
  const others: string[] = [];
  for (const [split, patterns] of splits ?? []) {
    const which = splitOf(split);
    if (which === null) {
      others.push(split);
      continue;
    }
    const other = meant.get(which);
    if (other !== undefined)
      throw new LiloraError(
        'BadDataset',
        `README.md: splits ${quote(other)} and ${quote(split)} of ${quote(name)} could both be ${which}. Name the files that are meant with --${which}.`,
      );
    meant.set(which, split);
    const tests = patterns.map(patternOf);
    const files = paths.filter((path) => tests.some((test) => test.test(path)));
    if (files.length > 0) found[which] = files;
  }
  return { splits: found, others };
}

function splitsIn(value: unknown, folder: string): Map<string, readonly string[]> | null {
  const within = (patterns: unknown) =>
    [patterns]
      .flat()
      .filter((pattern) => typeof pattern === 'string')
      .map((pattern) => plain(folder === '' ? pattern : `${folder}/${pattern}`));
  if (typeof value === 'string' || (Array.isArray(value) && value.every((each) => typeof each === 'string')))
    return new Map([['train', within(value)]]);
  if (Array.isArray(value))
    return new Map(value.filter(isRecord).map((each) => [String(each['split']), within(each['path'])]));
  return isRecord(value) ? new Map(Object.entries(value).map(([split, each]) => [split, within(each)])) : null;
}

const plain = (path: string) => path.replace(/^(?:\.\/)+/, '').replace(/\/+$/, '');

/** A pattern of files as `datasets` writes it: `*` within a name, `**` over folders, `?`, `[…]`, `{a,b}`. A folder is all in it. */
function patternOf(pattern: string): RegExp {
  let text = '';
  for (let i = 0; i < pattern.length; i++) {
    const [here, next] = [pattern[i]!, pattern[i + 1]];
    const close = here === '[' ? pattern.indexOf(']', i + 2) : here === '{' ? pattern.indexOf('}', i) : -1;
    if (here === '*' && next === '*') {
      text += pattern[i + 2] === '/' ? '(?:.*/)?' : '.*';
      i += pattern[i + 2] === '/' ? 2 : 1;
    } else if (here === '*') text += '[^/]*';
    else if (here === '?') text += '[^/]';
    else if (close > 0) {
      const inner = pattern.slice(i + 1, close);
      text +=
        here === '['
          ? `[${inner.replace(/^!/, '^').replaceAll('\\', '\\\\')}]`
          : `(?:${inner.split(',').map(escaped).join('|')})`;
      i = close;
    } else text += escaped(here);
  }
  return new RegExp(`^${text}(?:/.*)?$`, 'u');
}

const escaped = (text: string) => text.replaceAll(/[$()*+.?[\\\]^{|}/]/g, '\\$&');

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
