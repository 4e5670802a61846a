import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { hasNvidia, thisMachine } from '../infra/setup/choose.mjs';
import { ROOT } from '../workers/runtime.ts';
import { REFERENCE_MODELS } from './reference.ts';

const gpu = (...args: string[]) =>
  promisify(execFile)(process.execPath, ['--import', 'tsx', join(ROOT, 'bench/gpu.ts'), ...args], { cwd: ROOT });

/** What `npm run bench:gpu` does on a GPU, on the CPU. */
it('the check of a GPU goes through on the CPU: PyTorch’s numbers, and steps that train', async () => {
  const { stdout } = await gpu('--cpu', '--steps', '2', '--json');
  const { isUsingGpuDevice, fixtures, rows } = JSON.parse(stdout);
  expect(isUsingGpuDevice).toBe(false);
  expect(fixtures.map(({ name, right }: { name: string; right: boolean }) => [name, right])).toEqual(
    REFERENCE_MODELS.map((name) => [name, true]),
  );
  expect(rows).toMatchObject([{ unit: 'ms', problem: 'not asked' }]);
  expect(rows[0].ours).toBeGreaterThan(0);
});

it('says what is missing where there is no GPU', async () => {
  if (hasNvidia(thisMachine())) return;
  await expect(gpu()).rejects.toMatchObject({ code: 1, stderr: expect.stringMatching(/No NVIDIA driver.*--cpu/s) });
});
