import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { readSafetensors, writeSafetensors } from '../../core/safetensors.ts';
import { smallOptions } from '../../test/small-learning.ts';
import { Random } from '../training/random.ts';
import { activeDigest } from './adapter.ts';
import { mustKnow, mustMatch, readBank, tensorOf, writeBank } from './bank.ts';
import type { Bank } from './method.ts';
import { methodNamed, methodNames } from './registry.ts';

const layers = [
  { name: 'model.one', in: 6, out: 5 },
  { name: 'model.two', in: 5, out: 7 },
];

/** A bank in which `tasks` were begun and finished as they were begun. */
function bankOf(name: string, tasks: readonly string[], seed = 1): Bank {
  const method = methodNamed(name);
  const options = method.options.parse(smallOptions(name));
  const random = new Random(seed);
  let bank = method.start(layers, options, random);
  for (const task of tasks) {
    const trainable = method.begin(bank, task, options, random.split(task));
    const trained = [...trainable.tensors].map(([key, { start }]) => [key, start] as const);
    bank = method.finish(bank, trainable, new Map(trained));
  }
  return bank;
}

describe.each(methodNames())('a bank of %s', (name) => {
  it('comes back from its file', () => {
    const bank = bankOf(name, ['a', 'b']);
    const back = readBank(writeBank(bank), 'bank');
    expect(back).toEqual({ ...bank, tensors: expect.anything() });
    expect(new Map([...back.tensors].sort())).toEqual(new Map([...bank.tensors].sort()));
  });

  it('has equal bytes when it is equal, in whatever order it was made', () => {
    const bank = bankOf(name, ['a', 'b']);
    const options = Object.fromEntries(Object.entries(bank.options).reverse());
    const turned = { ...bank, options, tensors: new Map([...bank.tensors].reverse()) };
    expect(writeBank(turned)).toEqual(writeBank(bank));
    expect(writeBank(bankOf(name, ['a', 'b']))).toEqual(writeBank(bank));
  });

  it('goes on with the options it was written with', () => {
    const bank = readBank(writeBank(bankOf(name, ['a'])), 'bank');
    const options = methodNamed(name).options.parse(bank.options);
    expect(options).toEqual(bank.options);
    expect(() => methodNamed(name).begin(bank, 'b', options, new Random(1))).not.toThrow();
  });

  it('knows its tasks', () => {
    expect(() => methodNamed(name).activate(bankOf(name, ['a', 'b']), 'c')).toThrow(
      'The bank knows no task "c". It knows: a, b.',
    );
  });
});

describe('a damaged bank is refused by name', () => {
  const good = bankOf('lilora', ['a', 'b']);
  const bytes = writeBank(good);
  const header = () => JSON.parse(readSafetensors(bytes, 'bank').metadata['bank']!);
  const withHeader = (changes: object) =>
    writeSafetensors(good.tensors, { format: 'lilora-bank-v1', bank: JSON.stringify({ ...header(), ...changes }) });
  const one = { shape: [1], data: new Float32Array(1) };
  const without = (key: string) => new Map([...good.tensors].filter(([name]) => name !== key));

  it.each([
    ['another format', writeSafetensors(good.tensors, { format: 'pt' }), /not a bank of this product/],
    ['a task that it does not name', withHeader({ tasks: ['a'] }), /tensor tasks\/b\/model\.\w+\/\w+ belongs to no/],
    ['a task too many', withHeader({ tasks: ['a', 'b', 'c'] }), /tensor tasks\/c\/\S+ is missing/],
    ['a task twice', withHeader({ tasks: ['a', 'b', 'b'] }), /tasks: names a task twice/],
    ['a task that is a path', withHeader({ tasks: ['a', '../b'] }), /tasks\.1: is empty or holds a slash/],
    ['layers of no size', withHeader({ layers: [{ name: 'model.one', in: 0, out: 5 }] }), /layers\.0\.in/],
    ['layers that are none', withHeader({ layers: 'model.one' }), /layers/],
    ['an unknown field', withHeader({ more: 1 }), /more/],
    [
      'a missing shared tensor',
      writeBank({ ...good, tensors: without('shared/model.two/B0') }),
      /tensor shared\/model\.two\/B0 is missing/,
    ],
    [
      'a missing own tensor',
      writeBank({ ...good, tensors: without('tasks/b/model.one/a') }),
      /tensor tasks\/b\/model\.one\/a is missing/,
    ],
    [
      'shapes that differ between tasks',
      writeBank({
        ...good,
        tensors: new Map([...good.tensors, ['tasks/b/model.one/a', { shape: [2], data: new Float32Array(2) }]]),
      }),
      /tasks\/b\/model\.one\/a is \[2\], but tasks\/a\/model\.one\/a is \[1\]/,
    ],
    [
      'a tensor of no layer that one task alone has',
      writeBank({ ...good, tensors: new Map([...good.tensors, ['tasks/b/vector', one]]) }),
      /tensor tasks\/a\/vector is missing/,
    ],
    [
      'a tensor of a place that there is not',
      writeBank({ ...good, tensors: new Map([...good.tensors, ['model/a/b', one]]) }),
      /tensor model\/a\/b belongs to no layer/,
    ],
    ['cut', bytes.subarray(0, bytes.length - 5), /bank\.safetensors/],
  ])('%s', (_what, damaged, message) => {
    expect(() => readBank(damaged, 'bank.safetensors')).toThrow(
      expect.objectContaining({ name: 'IntegrityError', message: expect.stringMatching(message) }),
    );
  });
});

describe('going on', () => {
  it('refuses options that change what the bank holds', () => {
    const bank = bankOf('lilora', ['a']);
    expect(() => mustMatch(bank, { ...bank.options, alpha: 4 }, ['rank', 'alpha'])).toThrow(
      'The bank was started with alpha = 8, not 4. Use the same, or start a new stream.',
    );
    for (const name of ['lilora', 'sequential-lora', 'per-task-lora'])
      expect(() =>
        methodNamed(name).begin(bankOf(name, ['a']), 'b', methodNamed(name).options.parse({ rank: 8 }), new Random(1)),
      ).toThrow(/started with rank = 4, not 8/);
    expect(() => mustKnow(bankOf('lilora', []), 'a')).toThrow('It knows: none.');
    expect(() => tensorOf(bank, 'shared/x/A')).toThrow(/no tensor shared\/x\/A/);
  });

  it('accepts another variant of LiLoRA: safe mode goes on with the same bank', () => {
    const bank = bankOf('lilora', ['a']);
    const { options } = methodNamed('lilora');
    for (const variant of ['paper', 'released', 'safe'])
      expect(() =>
        methodNamed('lilora').begin(bank, 'b', options.parse({ rank: 4, alpha: 8, variant }), new Random(1)),
      ).not.toThrow();
  });
});

describe('the digest of a task', () => {
  it('is of what the task computes with: its own tensors, the shared ones, and options', () => {
    const bank = bankOf('lilora', ['a', 'b']);
    const change = (key: string) => {
      const { shape, data } = bank.tensors.get(key)!;
      return { ...bank, tensors: new Map([...bank.tensors, [key, { shape, data: data.map((x) => x + 1) }]]) };
    };
    const a = activeDigest(bank, 'a');
    expect(a).toMatch(/^[0-9a-f]{64}$/);
    expect(activeDigest(readBank(writeBank(bank), 'bank'), 'a')).toBe(a);
    expect(activeDigest(bank, 'b')).not.toBe(a);
    expect(activeDigest(change('tasks/b/model.one/a'), 'a')).toBe(a);
    expect(activeDigest(change('tasks/a/model.one/a'), 'a')).not.toBe(a);
    expect(activeDigest(change('shared/model.two/B0'), 'a')).not.toBe(a);
    expect(activeDigest({ ...bank, options: { ...bank.options, alpha: 16 } }, 'a')).not.toBe(a);
    // Which options a forward pass reads is known to its method alone.
    expect(activeDigest({ ...bank, options: { ...bank.options, stabilityWeight: 5 } }, 'a')).not.toBe(a);
  });

  it('stays in a per-task LoRA whatever is learned later', () => {
    expect(activeDigest(bankOf('per-task-lora', ['a', 'b']), 'a')).toBe(
      activeDigest(bankOf('per-task-lora', ['a']), 'a'),
    );
  });
});

describe('the registry', () => {
  it('finds methods by name and names them all when there is none', () => {
    const folders = readdirSync(import.meta.dirname, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    expect(methodNames().toSorted()).toEqual(folders.map(({ name }) => name).toSorted());
    const [first, ...others] = methodNames();
    expect([first, others]).toEqual(['lilora', others.toSorted()]);
    for (const name of methodNames()) expect(methodNamed(name).name).toBe(name);
    expect(() => methodNamed('lora')).toThrow(
      /^There is no method "lora"\. Choose from lilora, .*per-task-lora, .*zero-shot\.$/,
    );
  });
});
