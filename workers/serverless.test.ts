import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readCompute } from './serverless.ts';

const folder = mkdtempSync(join(tmpdir(), 'lilora-compute-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(content: unknown): string {
  const path = join(folder, 'provider.json');
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

describe('a provider file', () => {
  it('is read as it stands', async () => {
    const compute = {
      provider: 'aws-ecs',
      details: { cluster: 'gpus', service: 'lilora', region: 'eu-west-1', role_external_id: 'lilora' },
      scaler: { type: 'rate-based', details: { max_count: 4 } },
    };
    expect(await readCompute(file(compute))).toEqual(compute);
  });

  it.each([
    ['{', /provider\.json/],
    [{ details: {} }, /provider\.json: .*provider/s],
    [{ provider: 'k8s', details: {}, scalar: {} }, /scalar/],
    [{ provider: 'k8s', details: { namespace: 'ml', kubeconfig: 'apiVersion: v1' } }, /"kubeconfig" would be readable/],
    [{ provider: 'http', details: { apiKey: 'y' } }, /"apiKey" would be readable/],
    [{ provider: 'http', details: { nested: [{ clientSecret: 'y' }] } }, /"clientSecret" would be readable/],
  ])('is refused when it is %j', async (content, message) => {
    await expect(readCompute(file(content))).rejects.toThrow(message);
  });

  it('that is missing is named', async () => {
    await expect(readCompute(join(folder, 'none.json'))).rejects.toThrow(/BadConfig|none\.json cannot be read/);
  });
});
