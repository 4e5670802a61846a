import type { Command } from 'commander';
import { type Choices, choices } from '../../infra/setup/choose.mjs';
import { table } from '../../report/terminal.ts';
import { probe } from '../../store/object-store.ts';
import { openStore } from '../../store/open.ts';
import { SEARCH_ATTRIBUTES } from '../../workflows/contract.ts';
import { adoptEnvironment, withClient } from '../connect.ts';
import { result, resultJson } from '../output.ts';
import { findRunning } from '../place.ts';

/** One thing that was looked at. */
interface Check {
  readonly what: string;
  readonly ok: boolean;
  readonly found: string;
  /** What mends it, as one command. */
  readonly mend?: string;
}

export function addDoctor(program: Command): void {
  program
    .command('doctor')
    .description('What this machine has and uses, what is missing, and the one command that mends it.')
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      '\nExample:\n  $ lilora doctor\nThe exit code is 1 when something that is configured does not work.',
    )
    .action(async ({ json }: { json?: boolean }) => {
      const chosen = choices();
      const checks = [...machine(chosen), await tensors(), ...(await servers())];
      if (json) resultJson({ checks, missing: chosen.missing });
      else result(text(checks, chosen.missing));
      if (checks.some(({ ok }) => !ok)) process.exitCode = 1;
    });
}

function machine({ node, temporal, s3, cache, tensors: engine }: Choices): Check[] {
  const server =
    temporal.kind === 'address'
      ? `the server at ${temporal.address}`
      : {
          cached: "the project's own build",
          cli: 'the temporal command',
          download: 'downloaded by the SDK at first use',
          missing: 'none',
        }[temporal.kind];
  const store = {
    endpoint: `the server at ${s3.endpoint}`,
    versitygw: 'versitygw, built here',
    folder: 'a folder of this machine',
  }[s3.kind];
  return [
    { what: 'Node.js', ok: node.supported, found: node.version, mend: 'install Node.js 22 (https://nodejs.org)' },
    { what: 'tensors installed', ok: true, found: engine.detail },
    { what: 'Temporal for dev', ok: temporal.kind !== 'missing', found: server, mend: 'npm run setup' },
    { what: 'S3 for dev', ok: true, found: store },
    { what: 'cache', ok: true, found: cache },
  ];
}

/** Starts the tensor engine for real: an addon that is installed may still not load. */
async function tensors(): Promise<Check> {
  try {
    const { startTensors } = await import('../../learning/tensors/backend.ts');
    const { name, device, version, why } = await startTensors();
    return { what: 'tensors at work', ok: true, found: `${name} on ${device}, ${version} (${why})` };
  } catch (error) {
    return { what: 'tensors at work', ok: false, found: (error as Error).message, mend: 'npm run setup' };
  }
}

/** What is configured, or runs here by `lilora dev`. */
async function servers(): Promise<Check[]> {
  const running = findRunning();
  const env = adoptEnvironment();
  const checks: Check[] = [];
  if (running)
    checks.push({ what: 'lilora dev', ok: true, found: `process ${running.pid}, UI ${running.ui ?? 'elsewhere'}` });
  if (env['TEMPORAL_ADDRESS'] || env['TEMPORAL_PROFILE']) checks.push(...(await temporalChecks()));
  if (env['LILORA_STORE']) checks.push(await storeCheck(env['LILORA_STORE']));
  return checks;
}

async function temporalChecks(): Promise<Check[]> {
  try {
    return await withClient(async (client) => {
      const { namespace } = client.options;
      await client.connection.workflowService.describeNamespace({ namespace });
      const { customAttributes } = await client.connection.operatorService.listSearchAttributes({ namespace });
      const lacking = Object.entries(SEARCH_ATTRIBUTES).filter(([name]) => !(name in (customAttributes ?? {})));
      const mend = lacking.map(
        ([name, type]) => `temporal operator search-attribute create --name ${name} --type ${type}`,
      );
      return [
        { what: 'Temporal', ok: true, found: `answers; namespace ${namespace}` },
        lacking.length === 0
          ? { what: 'search attributes', ok: true, found: 'all registered' }
          : {
              what: 'search attributes',
              ok: false,
              found: `lacking: ${lacking.map(([name]) => name).join(', ')}`,
              mend: mend.join(' && '),
            },
      ];
    });
  } catch (error) {
    return [
      { what: 'Temporal', ok: false, found: (error as Error).message, mend: 'lilora dev, or set TEMPORAL_ADDRESS' },
    ];
  }
}

async function storeCheck(uri: string): Promise<Check> {
  try {
    await probe(openStore(uri));
    return { what: 'store', ok: true, found: `${uri}: writes are safe (conditional create and replace work)` };
  } catch (error) {
    return {
      what: 'store',
      ok: false,
      found: (error as Error).message,
      mend: 'correct LILORA_STORE and the AWS_* variables',
    };
  }
}

function text(checks: readonly Check[], missing: Choices['missing']): string {
  const lines = table([['', 'what', 'found'], ...checks.map(({ what, ok, found }) => [ok ? 'ok' : 'NO', what, found])]);
  const mends = [
    ...checks.flatMap(({ what, ok, mend }) => (ok || !mend ? [] : [`${what}: ${mend}`])),
    ...missing.map(({ what, why, mend }) => `${what} (${why}): ${mend}`),
  ];
  return mends.length === 0
    ? `${lines}\n\nNothing is missing.`
    : `${lines}\n\nTo mend:\n${mends.map((m) => `  ${m}`).join('\n')}`;
}
