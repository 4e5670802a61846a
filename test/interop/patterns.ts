/**
 * Writes, for `compare.py`, the adapter of test/fixtures/llava-gqa/patterns as a task of `per-task-lora` publishes it:
 * `node --import tsx patterns.ts FOLDER`. What PEFT computes with it must be what it computed with its own.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { perTaskLora } from '../../learning/methods/per-task-lora/index.ts';
import { pairOptions } from '../../learning/methods/ranks.ts';
import { Random } from '../../learning/training/random.ts';
import { PEFT_FILES, readPeft, writePeft } from '../../store/peft.ts';

const out = process.argv[2]!;
const given = join(import.meta.dirname, '../fixtures/llava-gqa/patterns/adapter');
const config = readFileSync(join(given, PEFT_FILES.config));
const { layers } = readPeft(config, readFileSync(join(given, PEFT_FILES.weights)), given);
const { r, lora_alpha, rank_pattern, alpha_pattern, use_rslora } = JSON.parse(config.toString());
const options = pairOptions.parse({
  ...{ rank: r, alpha: lora_alpha, useRslora: use_rslora },
  ...{ rankPattern: rank_pattern, alphaPattern: alpha_pattern },
});
const adapted = [...layers].map(([name, { A, B }]) => ({ name, in: A.shape[1]!, out: B.shape[0]! }));
const started = perTaskLora.start(adapted, options, new Random(1));
const begun = perTaskLora.begin(started, 'task', options, new Random(1));
const trained = [...layers].flatMap(([layer, { A, B }]) => [
  [`${layer}/lora_A`, A] as const,
  [`${layer}/lora_B`, B] as const,
]);
const bank = perTaskLora.finish(started, begun, new Map(trained));
mkdirSync(out, { recursive: true });
for (const { path, bytes } of writePeft(perTaskLora.fold!(bank, 'task'), 'llava-gqa'))
  writeFileSync(join(out, path), bytes);
