/**
 * What an NVIDIA GPU does here: `npm run bench:gpu [-- --shapes d384,smolvlm-256m --no-peer --json]`. Looks for a driver,
 * builds the addon with CUDA where it is not there yet (about 5 GB, once), says whether TensorFlow uses the device, compares
 * the models of the fixtures with PyTorch's numbers, and times training steps beside PyTorch in bfloat16. Where something
 * is missing it says what and ends with 1. `--cpu` takes the same path on the CPU with the smallest shape and, unless
 * `--peer` is given, without PyTorch: it needs nothing that the tests do not need.
 */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { choices, hasNvidia, thisMachine } from '../infra/setup/choose.mjs';
import { startTensors } from '../learning/tensors/backend.ts';
import { REFERENCE_MODELS } from '../test/reference.ts';
import { apart, expectedAnswers, referenceAnswers } from '../test/reference-answers.ts';
import { ROOT } from '../workers/runtime.ts';
import { peerPython, type Row, rowsTable, without } from './paired.ts';
import { compare, oursAlone } from './step/compare.ts';
import { SHAPES, type Shape } from './step/models.ts';
import { lengthOf } from './step/work.ts';

const { values } = parseArgs({
  options: {
    cpu: { type: 'boolean', default: false },
    shapes: { type: 'string' },
    peer: { type: 'boolean' },
    rounds: { type: 'string', default: '5' },
    steps: { type: 'string', default: '4' },
    json: { type: 'boolean', default: false },
  },
  allowNegative: true,
});
const say = (text: string) => process.stderr.write(`${text}\n`);
/** Logits of the fixtures are of the order of 1; a GPU may compute products in TF32, ten bits of precision. */
const NEAR = values.cpu ? { logits: 2e-4, loss: 5e-5 } : { logits: 2e-2, loss: 5e-3 };

/** What keeps a GPU from being used; makes what can be made. */
function problem(): string | null {
  const world = thisMachine();
  if (!hasNvidia(world)) return 'No NVIDIA driver is loaded (neither /proc/driver/nvidia/version nor /dev/nvidiactl).';
  if (choices(world).tensors.kind !== 'addon-gpu') {
    say('Building the addon with CUDA: NVIDIA’s libraries take about 5 GB.');
    const setup = [join(ROOT, 'infra/setup/main.mjs'), '--only', 'tensors'];
    execFileSync(process.execPath, setup, { stdio: 'inherit', env: { ...process.env, LILORA_TENSORFLOW: 'gpu' } });
  }
  const { tensors, missing } = choices(thisMachine());
  if (tensors.kind === 'addon-gpu') return null;
  return `The addon is ${tensors.detail}. Missing: ${missing.map(({ what, mend }) => `${what} (${mend})`).join('; ')}.`;
}

/** Every family of the fixtures against PyTorch's numbers. */
async function fixtures() {
  const found = [];
  for (const name of REFERENCE_MODELS) {
    const differs = apart(await referenceAnswers(name), expectedAnswers(name));
    const right = differs.logits <= NEAR.logits && differs.loss <= NEAR.loss && (!values.cpu || differs.tokens === 0);
    found.push({ name, ...differs, right });
  }
  return found;
}

/** Our steps alone. */
async function alone(shape: Shape): Promise<Row> {
  const { side, end } = oursAlone({ shape, kind: 'dense', cores: 1 });
  try {
    await side.answer();
    const train = () => side.ask<{ seconds: number[]; losses: number[] }>(`train ${values.steps}`);
    const [first, second] = [await train(), await train()];
    const losses = [...first.losses, ...second.losses];
    if (!losses.every(Number.isFinite)) throw new Error(`${shape.name}: losses ${losses}.`);
    const ms = (1000 * second.seconds.reduce((a, b) => a + b, 0)) / second.seconds.length;
    return without(
      `training step: ${shape.name}, ${shape.rows} × ${lengthOf(shape, 'dense')}, dense`,
      ms,
      'ms',
      'not asked',
    );
  } finally {
    end();
  }
}

async function steps(): Promise<Row[]> {
  const chosen = (values.shapes ?? (values.cpu ? 'small' : 'd384,smolvlm-256m')).split(',');
  const python = (values.peer ?? !values.cpu) ? peerPython() : null;
  const rows: Row[] = [];
  for (const shape of SHAPES.filter(({ name }) => chosen.includes(name)))
    if (python === null) rows.push(await alone(shape));
    else {
      const mode = values.cpu ? 'eager' : 'cuda-bf16';
      const counts = { rounds: Number(values.rounds), steps: Number(values.steps), tokens: 0 };
      rows.push(...(await compare({ shape, kind: 'dense', cores: 1, mode, python, ...counts }, say)));
    }
  return rows;
}

const stopped = values.cpu ? null : problem();
if (stopped) {
  say(`${stopped} \`npm run bench:gpu -- --cpu\` takes the same path on the CPU.`);
  process.exit(1);
}
if (values.cpu) process.env['CUDA_VISIBLE_DEVICES'] = '-1';
const engine = await startTensors('tensorflow');
if (!values.cpu && engine.device !== 'gpu') {
  say(
    `TensorFlow uses no GPU (${engine.why}). Run it with TF_CPP_MIN_LOG_LEVEL=0 to see which library it does not open.`,
  );
  process.exit(1);
}
const found = {
  isUsingGpuDevice: engine.device === 'gpu',
  version: engine.version,
  fixtures: await fixtures(),
  rows: await steps(),
};
if (values.json) process.stdout.write(`${JSON.stringify(found, null, 1)}\n`);
else {
  console.log(`${found.version}; isUsingGpuDevice: ${found.isUsingGpuDevice}`);
  for (const { name, logits, loss, tokens, right } of found.fixtures)
    console.log(
      `${right ? 'right' : 'WRONG'}  ${name}: logits off by ${logits.toExponential(1)}, loss by ${loss.toExponential(1)}, ${tokens} other tokens`,
    );
  console.log(rowsTable(found.rows));
}
if (!found.fixtures.every(({ right }) => right)) process.exitCode = 1;
