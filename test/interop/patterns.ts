/**
 * Writes, for `compare.py`, the adapter of test/fixtures/llava-gqa/patterns as a task of `per-task-lora` publishes it:
 * `node --import tsx patterns.ts FOLDER`. What PEFT computes with it must be what it computed with its own.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bankOfLora } from '../../learning/methods/bank-of-lora.ts';
import { perTaskLora } from '../../learning/methods/per-task-lora/index.ts';
import { PEFT_FILES, readPeft, writePeft } from '../../store/peft.ts';

const out = process.argv[2]!;
const given = join(import.meta.dirname, '../fixtures/llava-gqa/patterns/adapter');
const read = (name: string) => readFileSync(join(given, name));
const bank = bankOfLora('per-task-lora', 'task', readPeft(read(PEFT_FILES.config), read(PEFT_FILES.weights), given));
mkdirSync(out, { recursive: true });
for (const { path, bytes } of writePeft(perTaskLora.fold!(bank, 'task'), { name: 'llava-gqa' }))
  writeFileSync(join(out, path), bytes);
