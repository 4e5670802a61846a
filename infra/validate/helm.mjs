/**
 * The chart: `helm lint` and, for its defaults and each example, every rendered object validated as an API server of Kubernetes 1.30 would,
 * custom resources of KEDA and of Temporal's worker controller included, with the rules (CEL) that they carry.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { command } from '../setup/command.mjs';
import { ROOT } from '../setup/places.mjs';
import { check, must, mustFail } from './checks.mjs';
import { customResources, kubectlValidate, helm as makeHelm } from './tools.mjs';

const CHART = join(ROOT, 'infra', 'helm', 'lilora');
const KUBERNETES = '1.30'; // the newest that kubectl-validate knows

export async function checkHelm() {
  const helm = await makeHelm();
  const validate = await kubectlValidate();
  const { crds, scalers } = await customResources();
  const work = mkdtempSync(join(tmpdir(), 'lilora-helm-'));
  const file = join(work, 'objects.yaml');
  const good = (/** @type {string} */ objects) => {
    writeFileSync(file, objects);
    return command(validate, ['--version', KUBERNETES, '--local-crds', crds, file]);
  };
  try {
    const examples = readdirSync(join(CHART, 'examples')).filter((name) => name.endsWith('.yaml'));
    for (const example of ['the defaults', ...examples]) {
      const values = example === 'the defaults' ? [] : ['--values', join(CHART, 'examples', example)];
      let objects = '';
      await check(`helm lint and template, ${example}`, async () => {
        await command(helm, ['lint', CHART, '--strict', ...values]);
        objects = await command(helm, ['template', 'lilora', CHART, '--namespace', 'ml', ...values]);
      });
      await check(`objects are valid, ${example}`, () => good(objects));
      const scalersMade = scalersOf(objects);
      if (scalersMade)
        await check(`scalers that the worker controller makes are valid, ${example}`, () => good(scalersMade));
      await check(`KEDA's temporal scaler takes what it is given, ${example}`, () => checkTriggers(objects, scalers));
      await check(`pods are nobody's and read-only, ${example}`, () => checkPods(objects));
    }
    const render = ['template', 'lilora', CHART];
    await check('values that the chart does not have are refused', () =>
      mustFail(helm, [...render, '--set', 'gpu.defaults.maxWorker=3'], /additional propert|maxWorker/i),
    );
    await check('a deployment without a build id is refused', () =>
      mustFail(helm, [...render, '--set', 'gpu.defaults.deployment=x'], /names a deployment but no buildId/),
    );
    await check('a listener without a secret is refused', () =>
      mustFail(helm, [...render, '--set', 'listener.enabled=true'], /without a secret/),
    );
    await check('an object with a wrong field is found', async () => {
      const objects = await command(helm, ['template', 'lilora', CHART]);
      writeFileSync(file, objects.replace('strategy: accurate', 'strategi: accurate'));
      await mustFail(validate, ['--version', KUBERNETES, '--local-crds', crds, file], /strategi/);
    });
    await check('a key that the scaler does not have is found', async () => {
      const objects = (await command(helm, ['template', 'lilora', CHART])).replace('targetQueueSize:', 'targetSize:');
      const found = await Promise.resolve()
        .then(() => checkTriggers(objects, scalers))
        .catch((error) => error.message);
      must(/has no targetSize/.test(String(found)), `found: ${found}`);
    });
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

const documents = (/** @type {string} */ objects) => objects.split(/^---\n/m).filter((text) => /^kind:/m.test(text));

/** What the worker controller makes of WorkerResourceTemplates, with its own fields filled in; empty when there are none. */
function scalersOf(/** @type {string} */ objects) {
  const templates = documents(objects)
    .filter((text) => /^kind: WorkerResourceTemplate$/m.test(text))
    .map((text) => text.slice(text.indexOf('\n  template:\n') + '\n  template:\n'.length).replace(/^ {4}/gm, ''))
    .map((text) => `metadata: { name: one }\n${text.replace('scaleTargetRef: {}', 'scaleTargetRef: { name: one }')}`);
  return templates.join('\n---\n');
}

/** Every key of a trigger must be one that KEDA's own schema lists for it. @param {string} objects @param {string} schemaFile */
function checkTriggers(objects, schemaFile) {
  const { scalers } = JSON.parse(readFileSync(schemaFile, 'utf8'));
  const temporal = scalers.find((/** @type {{type: string}} */ scaler) => scaler.type === 'temporal');
  const known = temporal.parameters.map((/** @type {{name: string}} */ parameter) => parameter.name);
  const lines = objects.split('\n');
  for (const [at, line] of lines.entries()) {
    if (!/^ *- type: temporal$/.test(line)) continue;
    const inside = line.indexOf('-') + 4; // the depth of what stands below `metadata:`
    const keys = [];
    for (const next of lines.slice(at + 2)) {
      const [, indent = '', key] = /^( *)(?:#.*|(\w+):.*)$/.exec(next) ?? [];
      if (indent.length < inside) break;
      if (key) keys.push(key);
    }
    must(keys.length > 3, `no keys read at line ${at}`);
    const unknown = keys.filter((key) => !known.includes(key));
    must(unknown.length === 0, `KEDA's temporal scaler has no ${unknown.join(', ')}; it has ${known.join(', ')}`);
  }
}

/** @param {string} objects */
function checkPods(objects) {
  for (const text of documents(objects).filter((one) => /^ +containers:$/m.test(one)))
    for (const line of [
      'runAsNonRoot: true',
      'readOnlyRootFilesystem: true',
      'allowPrivilegeEscalation: false',
      'drop: [ALL]',
    ])
      must(text.includes(line), `a pod without "${line}":\n${text.slice(0, 400)}`);
  must(!/^kind: Secret$/m.test(objects), 'the chart makes no secrets: it names those that exist');
}
