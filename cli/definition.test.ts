import { expect, it } from 'vitest';
import type { ResolvedStream } from '../workflows/contract.ts';
import { definitionOf, differences, mustAgree } from './definition.ts';

const found = {
  schema: 1,
  name: 'pets',
  model: { uri: 's3://m/base', digest: 'd' },
  method: { name: 'lilora', options: { rank: 16, alpha: 32 } },
  targets: 'paper',
  training: {
    learningRate: 1e-3,
    batchSize: 4,
    microBatchSize: 4,
    epochs: 2,
    warmupRatio: 0,
    weightDecay: 0,
    clipNorm: 1,
    dropout: 0,
  },
  evaluation: { maxNewTokens: 8, batchSize: 4 },
  gate: { forgettingBudget: 5, minimumGain: 0, consolidations: [0.5, 1], whenOver: 'safe' },
  limits: { trainHours: 1, heartbeatSeconds: 10, checkpointSeconds: 10 },
  seed: 0,
  gpuQueue: 'lilora-gpu',
} satisfies ResolvedStream;

it('what a definition leaves open fits anything', () => {
  expect(differences({ name: 'pets', model: 's3://m/base' }, found)).toEqual([]);
  expect(
    differences(
      { name: 'pets', model: 's3://m/base', options: { alpha: 32 }, gate: { consolidations: [0.5, 1] } },
      found,
    ),
  ).toEqual([]);
});

it('what it asks for otherwise is named', () => {
  const wanted = {
    name: 'pets',
    model: 's3://m/base',
    options: { rank: 8 },
    training: { epochs: 3 },
    targets: ['q_proj'],
  };
  expect(differences(wanted, found)).toEqual(['options.rank', 'training.epochs', 'targets']);
  expect(() => mustAgree(wanted, found)).toThrow(
    /Stream pets exists with another options\.rank, training\.epochs, targets/,
  );
});

it('a resolved stream can be defined again', () => {
  expect(differences(definitionOf(found), found)).toEqual([]);
});

it('one training worker is what a definition without workers has', () => {
  const wanted = { name: 'pets', model: 's3://m/base', training: { workers: 1, epochs: 2 } };
  expect(differences(wanted, found)).toEqual([]);
  const rounds = { workers: 2, roundSteps: 25, outerLearningRate: 1, outerMomentum: 0 };
  expect(differences(wanted, { ...found, training: { ...found.training, ...rounds } })).toEqual(['training.workers']);
});

it('no router is what a definition without one has', () => {
  const wanted = { name: 'pets', model: 's3://m/base' };
  expect(differences({ ...wanted, router: 'none' }, found)).toEqual([]);
  expect(differences({ ...wanted, router: 'none' }, { ...found, router: 'lda' })).toEqual(['router']);
});

it('a stream from before bases had names goes on under any; another name than its own is told', () => {
  const wanted = { name: 'pets', model: 's3://m/base', base: { name: 'org/base', revision: 'c' } };
  expect(differences(wanted, found)).toEqual([]);
  expect(differences(wanted, { ...found, base: { name: 'org/base', revision: 'd' } })).toEqual(['base.revision']);
});
