import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { AveragedRound } from '../activities/average-round.ts';
import { DEFAULTS } from '../core/defaults.ts';
import { Random } from '../learning/training/random.ts';
import { ROOT } from '../workers/runtime.ts';
import { MAX_PAYLOAD_BYTES } from '../workflows/contract.ts';
import { ASSUMED, LAYERS, overhead, planTables, roundCosts, SLOWEST, trainedNumbers } from './rounds-plan.ts';

test('trains the numbers that the paper counts: 151.25 MiB of A, 206 of B0, 104.53 per task, in bfloat16', () => {
  expect(LAYERS).toHaveLength(98);
  expect((2 * trainedNumbers()) / 2 ** 20).toBeCloseTo(151.25 + 206 + 104.53, 2);
});

test('two workers worked by hand', () => {
  const costs = roundCosts(2);
  const weights = 968.4e6;
  expect(costs.weights / weights).toBeCloseTo(1, 3);
  // Each worker: one up, one to the average, one down; and the average itself.
  expect(costs.exchanged / (7 * weights)).toBeCloseTo(1, 3);
  // Two moments each, up and down; momentum down and up, and the weights before.
  expect(costs.kept / (11 * weights)).toBeCloseTo(1, 3);
  // 58 parts of weights, 116 of moments, two requests around each upload.
  expect(costs.writeRequests).toBe(2 * (58 + 2 + 116 + 2) + 2 * (58 + 2));
  // 1.94 GB at 90 MB/s; 2.9 GB at 360; 1.94 GB at 180, 1.94 at 90, 1.94 at 360, and 484 million numbers at 9 ns.
  expect([costs.fetch, costs.store, costs.average].map(Math.round)).toEqual([22, 8, 42]);
  expect(overhead(costs, 100)).toBeCloseTo(72 / 472, 2);
});

test('assumes what the product does', () => {
  expect(ASSUMED.downloads).toBe(DEFAULTS['rounds.downloads'].value);
  expect(ASSUMED.part).toBe(DEFAULTS['store.partMebibytes'].value * 2 ** 20);
  expect(2 * DEFAULTS['limits.workerRounds'].value * ASSUMED.events).toBeLessThan(51_200);
});

test('the slowest of k, drawn', () => {
  const random = new Random(1);
  for (const [workers, expected] of Object.entries(SLOWEST)) {
    const draws = Array.from({ length: 4000 }, () =>
      Math.max(...Array.from({ length: Number(workers) }, () => random.normal())),
    );
    expect(draws.reduce((a, b) => a + b, 0) / draws.length, workers).toBeCloseTo(expected, 1);
  }
});

test('64 workers with the longest names fit into a payload', () => {
  const run = `streams/${'s'.repeat(63)}/tasks/${'t'.repeat(63)}/rounds/${'r'.repeat(16)}`;
  const file = (name: string) => ({ key: `${run}/00001/${name}`, size: 1e10, sha256: 'd'.repeat(64) });
  const averaged: AveragedRound = {
    round: 10_000,
    weights: file(`${'d'.repeat(64)}.weights.safetensors`),
    velocity: file(`${'d'.repeat(64)}.velocity.safetensors`),
    inner: Array.from({ length: 64 }, () => file(`worker-63/${'d'.repeat(64)}.inner.safetensors`)),
    started: file(`${'d'.repeat(64)}.safetensors`),
    log: file(`${'d'.repeat(64)}.jsonl`),
    seconds: 123456.789,
    engine: { backend: 'tensorflow', device: 'GPU', version: '2.21.0' },
    bank: null,
  };
  expect(JSON.stringify(averaged).length).toBeLessThan(MAX_PAYLOAD_BYTES / 2);
});

test('docs/scale.md shows what the plan says', () => {
  const page = readFileSync(join(ROOT, 'docs/scale.md'), 'utf8');
  for (const table of planTables()) expect(page).toContain(table);
});
