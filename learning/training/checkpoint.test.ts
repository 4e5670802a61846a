import { expect, test } from 'vitest';
import { isLiloraError } from '../../core/errors.ts';
import type { TensorMap } from '../../core/host-tensor.ts';
import { type Checkpoint, readCheckpoint, writeCheckpoint } from './checkpoint.ts';

const tensors = (start: number): TensorMap =>
  new Map([
    ['body/A', { shape: [2, 3], data: Float32Array.from({ length: 6 }, (_, i) => start + i / 3) }],
    ['body/a', { shape: [1], data: Float32Array.of(-start) }],
  ]);
const identity = { data: 'd1', model: 'm1' };
const checkpoint: Checkpoint = {
  optimizer: { step: 5, weights: tensors(1), first: tensors(2), second: tensors(3) },
  seed: 4,
  steps: 20,
  identity,
};
const bytes = writeCheckpoint(checkpoint);

function refusal(content: Uint8Array, expected: Record<string, string> = identity): string {
  try {
    readCheckpoint(content, expected, 'step-5');
  } catch (error) {
    if (isLiloraError(error)) return `${error.name}: ${error.message}`;
    throw error;
  }
  return 'accepted';
}

test('comes back as it was, and the same state gives the same bytes', () => {
  expect(readCheckpoint(bytes, identity)).toEqual(checkpoint);
  expect(writeCheckpoint(structuredClone(checkpoint))).toEqual(bytes);
});

test('another run is refused by the name of what differs', () => {
  expect(refusal(bytes, { ...identity, data: 'd2' })).toBe(
    'BadConfig: step-5: it belongs to another run: data was d1 and is d2 now. Delete it to start the task anew.',
  );
  expect(refusal(bytes, { data: 'd1' })).toMatch(/model was m1 and is nothing now/);
  expect(refusal(bytes, { ...identity, code: 'c' })).toMatch(/code was nothing and is c now/);
});

test('every changed byte and every cut is noticed', () => {
  for (let at = 0; at < bytes.length; at += 7) {
    const broken = bytes.slice();
    broken[at]! ^= 0x11;
    expect(refusal(broken), `byte ${at}`).toMatch(/^IntegrityError: step-5/);
  }
  for (const length of [0, 7, 100, bytes.length - 1]) {
    expect(refusal(bytes.slice(0, length)), `${length} bytes`).toMatch(/^IntegrityError: step-5/);
  }
});
