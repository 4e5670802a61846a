import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { readBank } from '../learning/methods/bank.ts';
import { openStore } from '../store/open.ts';
import { PEFT_FILES } from '../store/peft.ts';
import { reference } from '../test/reference.ts';
import { listen } from '../test/said.ts';
import { checkReadable, startFrom } from './start-bank.ts';

const { folder: home } = reference('llava-mha');
let folder: string;
let said: ReturnType<typeof listen>;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lilora-start-'));
  said = listen();
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true, force: true });
});

/** The adapter of the reference with other fields, as a folder. */
function adapter(fields: object): string {
  const path = join(folder, 'dogs');
  cpSync(join(home, 'adapter'), path, { recursive: true });
  const config = JSON.parse(readFileSync(join(path, PEFT_FILES.config), 'utf8'));
  writeFileSync(join(path, PEFT_FILES.config), JSON.stringify({ ...config, ...fields }));
  return path;
}
const started = (start: string, model = join(home, 'model')) =>
  startFrom({ start }, {}, { uri: model, named: 'llava-hf/tiny' }, join(folder, 'store'), () => {});

it("is the adapter's bank, with its targets where they choose its layers", async () => {
  const { method, options, targets, start } = await started(adapter({ base_model_name_or_path: 'org/other' }));
  expect({ method, options }).toMatchObject({ method: 'sequential-lora', options: { rank: 4, alpha: 8 } });
  expect([...(targets as string[])].sort()).toEqual(['down_proj', 'gate_proj', 'linear_1', 'linear_2', 'up_proj']);
  const bank = readBank((await openStore(join(folder, 'store')).get(start!.bank.key)).bytes, 'bank');
  expect(bank.tasks).toEqual(['dogs']);
  expect(said.stderr).toContain('says that its base model is org/other; it is used with llava-hf/tiny');
});

it.each([
  null,
  'gate_proj',
  '(',
  '(?:.*?(?:language|text).*?(?:mlp|ffn).*?(?:gate_proj|up_proj|down_proj).*?)|(?:\\bmodel\\.nothing\\.[\\d]{1,}\\.(?:a|b))',
  '(?:a|b)'.repeat(100),
])('names the layers in full where target_modules %j do not choose just them', async (target_modules) => {
  const { targets } = await started(adapter({ target_modules }));
  expect(targets).toHaveLength(8);
  expect(targets).toContain('model.language_model.layers.1.mlp.gate_proj');
});

it('refuses scales that no stream has', async () => {
  await expect(started(adapter({ lora_alpha: 0 }))).rejects.toThrow(/lora_alpha is 0, and a stream goes on/);
});

it('says before a model is copied what is wrong with an adapter', async () => {
  await expect(checkReadable(adapter({ use_dora: true }))).rejects.toThrow(/use_dora is not supported/);
  await expect(checkReadable(join(home, 'model'))).rejects.toThrow(/is a whole model, not an adapter/);
  await expect(checkReadable(join(folder, 'bank.safetensors'))).resolves.toBe(undefined);
});
