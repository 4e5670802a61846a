import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { TensorMap } from '../../../core/host-tensor.ts';
import { readSafetensors, readTensorMap, writeSafetensors } from '../../../core/safetensors.ts';
import { learnTwo, options } from '../../../test/lilora-banks.ts';
import { fromHost, multiply } from '../../tensors/linalg.ts';
import { readBank, writeBank } from '../bank.ts';
import { lilora } from './index.ts';
import { readReleasedBank, writeReleasedBank } from './released-bank.ts';

const FOLDER = new URL('../../../test/fixtures/released-bank/', import.meta.url);
const file = (name: string) => new Uint8Array(readFileSync(new URL(name, FOLDER)));
const theirs = file('bank.safetensors');
const KEY = 'lora_specific_A/1/base_model.model.model.mm_projector.0.lora_specific_A.default.1.weight';

/** The file with other tensors or metadata. */
function spoiled(edit: (tensors: TensorMap, metadata: Record<string, string>) => void): Uint8Array {
  const { metadata } = readSafetensors(theirs, 'bank');
  const tensors = readTensorMap(theirs, 'bank');
  edit(tensors, metadata);
  return writeSafetensors(tensors, metadata);
}

describe("a bank of the authors' released code", () => {
  it('computes what their definition says, for every task and layer', () => {
    const bank = readReleasedBank(theirs, 'bank', ['a', 'b', 'c']);
    expect(bank.tasks).toEqual(['a', 'b', 'c']);
    expect(bank.options).toMatchObject({ variant: 'released', rank: 4, alpha: 8, innerRank: 2 });
    expect(bank.layers.map(({ name }) => name)).toContain('model.multi_modal_projector.linear_2');
    expect(bank.layers).toContainEqual({ name: 'model.language_model.layers.11.mlp.up_proj', in: 6, out: 10 });
    const expected = readTensorMap(file('deltas.safetensors'), 'deltas');
    const theirName = new Map([
      ['model.multi_modal_projector.linear_1', 'model.mm_projector.0'],
      ['model.multi_modal_projector.linear_2', 'model.mm_projector.2'],
    ]);
    for (const [i, task] of ['0', '1', '10'].entries()) {
      const { layers } = lilora.fold!(bank, bank.tasks[i]!);
      expect(layers.size).toBe(5);
      for (const [name, { A, B }] of layers) {
        const delta = multiply(fromHost(B), fromHost(A));
        const wanted = expected.get(`${task}/${theirName.get(name) ?? name.replace('language_model.', '')}`)!;
        expect([delta.rows, delta.cols]).toEqual(wanted.shape);
        for (const [k, x] of delta.data.entries()) expect(2 * x).toBeCloseTo(wanted.data[k]!, 5);
      }
    }
  });

  it('goes out as it came in, tasks numbered anew', () => {
    const bank = readReleasedBank(theirs, 'bank');
    expect(bank.tasks).toEqual(['task-0', 'task-1', 'task-10']);
    expect(readBank(writeBank(bank), 'ours')).toEqual(bank);
    const again = writeReleasedBank(bank);
    const [before, after] = [readTensorMap(theirs, 'before'), readTensorMap(again, 'after')];
    expect(after.size).toBe(before.size);
    for (const [key, tensor] of before) {
      const number = key.includes('/10/') ? key.replace('/10/', '/2/').replace('.default.10.', '.default.2.') : key;
      expect(after.get(number), number).toEqual(tensor);
    }
    expect(readReleasedBank(again, 'again', bank.tasks)).toEqual(bank);
  });
});

describe('is refused by name', () => {
  const own = (task: string) => KEY.replace('/1/', `/${task}/`).replace('.default.1.', `.default.${task}.`);
  const swap = (map: TensorMap, from: string, to: string) => {
    map.set(to, map.get(from)!);
    map.delete(from);
  };
  it.each<[string, Parameters<typeof spoiled>[0], RegExp]>([
    ['a missing tensor', (map) => map.delete(KEY), /mm_projector\.0\.lora_specific_A\.default\.1\.weight is missing/],
    ['an unknown tensor', (map) => map.set(own('7'), map.get(KEY)!), /1 tensor\(s\) belong to no layer or task.*\/7\//],
    ['a misspelt one', (map) => swap(map, KEY, KEY.replace('projector.0', 'projektor.0')), /is missing/],
    ['a task in the place of another', (map) => swap(map, KEY, KEY.replace('/1/', '/10/')), /is missing/],
    [
      'another shape',
      (map) => map.set(KEY, { shape: [1, 4], data: new Float32Array(4) }),
      /is \[1,4\], but must be \[2,4\]/,
    ],
    [
      'a module that LLaVA lacks',
      (map) => {
        for (const key of [...map.keys()])
          if (key.includes('mm_projector.0')) swap(map, key, key.replace('projector.0', 'projector.1'));
      },
      /mm_projector\.1.* belongs to no module/,
    ],
    ['no layer at all', (map) => map.clear(), /adapts no layer/],
    [
      'another format',
      (_, metadata) => Object.assign(metadata, { format: 'lilora-bank-v1' }),
      /format is "lilora-bank-v1"/,
    ],
    ['a task twice', (_, metadata) => Object.assign(metadata, { task_order: '["0","0"]' }), /names a task twice/],
    ['no task', (_, metadata) => Object.assign(metadata, { task_order: '[]' }), /names no task/],
    [
      'another rank',
      (_, metadata) => Object.assign(metadata, { config: '{"r":3,"lora_alpha":8,"sub_rank":2}' }),
      /must be \[3,/,
    ],
    ['no rank', (_, metadata) => Object.assign(metadata, { config: '{"lora_alpha":8,"sub_rank":2}' }), /config\.r/],
  ])('%s', (_, edit, message) => {
    expect(() => readReleasedBank(spoiled(edit), 'bank')).toThrow(
      expect.objectContaining({ name: 'IntegrityError', message: expect.stringMatching(message) }),
    );
  });

  it('a wrong number of names, and banks that their code cannot hold', () => {
    expect(() => readReleasedBank(theirs, 'bank', ['a', 'b'])).toThrow(/3 task\(s\), 0, 1, 10/);
    expect(() => readReleasedBank(theirs, 'bank', ['a', 'b', 'b'])).toThrow(/each once/);
    const { second } = learnTwo(options());
    expect(() => writeReleasedBank(second)).toThrow(/no module for one/);
    expect(() => writeReleasedBank(learnTwo(options({ innerShare: 0.6 })).second)).toThrow(/one inner rank for all/);
    expect(() => writeReleasedBank({ ...second, method: 'sequential-lora' })).toThrow(/not of sequential-lora/);
  });
});
