/**
 * What weights of 16 bits change: the tiny model of every family in the fixtures, whose weights are float32, beside a copy
 * of it in BF16 and in F16 that stays so (`LILORA_WEIGHTS=stored`): logits, loss and greedy answers.
 * `npx tsx bench/half.ts [--json]`
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startTensors } from '../learning/tensors/backend.ts';
import { table } from '../report/terminal.ts';
import { REFERENCE_MODELS } from '../test/reference.ts';
import { apart, halvedReference, referenceAnswers } from '../test/reference-answers.ts';

const { values } = parseArgs({ options: { json: { type: 'boolean', default: false } } });
await startTensors('tensorflow');
const root = mkdtempSync(join(tmpdir(), 'lilora-half-'));
const rows = [];
try {
  for (const model of REFERENCE_MODELS) {
    const whole = await referenceAnswers(model);
    const range = whole.logits.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    for (const type of ['BF16', 'F16'] as const) {
      const folder = halvedReference(root, model, type);
      const stored = await referenceAnswers(model, { folder, load: { weights: 'stored' } });
      const widened = await referenceAnswers(model, { folder, load: { weights: 'float32' } });
      const kept = apart(stored, widened);
      rows.push({ model, type, range, ...apart(stored, whole), of: whole.tokens.length, kept: kept.logits });
    }
  }
} finally {
  rmSync(root, { recursive: true });
}
if (values.json) process.stdout.write(`${JSON.stringify(rows, null, 1)}\n`);
else
  console.log(
    table([
      ['model', 'type', 'largest logit', 'logits off by', 'loss off by', 'other tokens', 'stored against widened'],
      ...rows.map(({ model, type, range, logits, loss, tokens, of, kept }) => [
        ...[model, type, range.toFixed(2), logits.toExponential(1), loss.toExponential(1)],
        ...[`${tokens} of ${of}`, kept.toExponential(1)],
      ]),
    ]),
  );
