/** The Lambda functions: built from their locks, within Lambda's limits, and run: one dataset triggered, learned and published by them. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { command } from '../setup/command.mjs';
import { ROOT } from '../setup/places.mjs';
import { check, must } from './checks.mjs';

const LAMBDA = join(ROOT, 'infra', 'lambda');

export async function checkLambda() {
  const out = mkdtempSync(join(tmpdir(), 'lilora-lambda-'));
  try {
    await check('functions build from their locks', async () => {
      await command('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--silent'], { cwd: LAMBDA });
      process.stdout.write(await command(process.execPath, ['build.mjs', '--out', out], { cwd: LAMBDA }));
    });
    await check('the orchestrator function has the SDK that lambda-worker pins, once', () => {
      const versions = ['worker', 'workflow', 'activity', 'client'].map(
        (name) =>
          JSON.parse(readFileSync(join(out, 'orchestrator/node_modules/@temporalio', name, 'package.json'), 'utf8'))
            .version,
      );
      must(new Set(versions).size === 1, `versions ${versions}`);
      must(
        !existsSync(join(out, 'orchestrator/node_modules/@temporalio/worker/node_modules/@temporalio')),
        'a second SDK',
      );
    });
    await check('a dataset is triggered, learned and published by the functions', async () => {
      const tsx = join(ROOT, 'node_modules', 'tsx', 'dist', 'cli.mjs');
      process.stdout.write(await command(process.execPath, [tsx, join(LAMBDA, 'learn.ts'), out], { cwd: ROOT }));
    });
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
}
