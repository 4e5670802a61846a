import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { readPeftFolder } from './peft-folder.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lilora-peft-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Files by path, with what they hold. */
function put(files: Readonly<Record<string, string>>): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
}
const [CONFIG, WEIGHTS] = ['adapter_config.json', 'adapter_model.safetensors'];

it('reads both files, whatever a trainer left beside them', async () => {
  put({ [CONFIG]: '{}', [WEIGHTS]: 'w', 'optimizer.pt': '', 'trainer_state.json': '{}', 'README.md': '' });
  const { config, weights } = await readPeftFolder(folder);
  expect([Buffer.from(config).toString(), Buffer.from(weights).toString()]).toEqual(['{}', 'w']);
});

const LFS = 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n';

it.each<[string, Record<string, string>, RegExp]>([
  [
    'a pickle',
    { [CONFIG]: '{}', 'adapter_model.bin': 'PK' },
    /adapter_model\.bin is a pickle.*python -c "import torch;.*weights_only=True/,
  ],
  ['a pickle of another name', { [CONFIG]: '{}', 'lora.pt': 'PK' }, /lora\.pt is a pickle/],
  [
    'a pickle under the name of safetensors',
    { [CONFIG]: '{}', [WEIGHTS]: 'PK\u0003\u0004...' },
    /is a pickle under another name/,
  ],
  ['GGUF', { [CONFIG]: '{}', 'adapter.gguf': 'GGUF' }, /GGUF is the form of llama\.cpp/],
  ['MLX', { [CONFIG]: '{}', 'adapters.safetensors': '' }, /the form of MLX/],
  [
    'pieces',
    { [CONFIG]: '{}', 'adapter_model-00001-of-00002.safetensors': '' },
    /the weights are in pieces\. Join them: python/,
  ],
  ['a pointer of LFS', { [CONFIG]: '{}', [WEIGHTS]: LFS }, /pointer of Git LFS.*lfs pull/],
  ['a configuration that is one', { [CONFIG]: LFS, [WEIGHTS]: '' }, /adapter_config\.json is a pointer of Git LFS/],
  ['weights without configuration', { [WEIGHTS]: '' }, /without r and lora_alpha/],
  ['no weights', { [CONFIG]: '{}' }, /adapter_model\.safetensors does not exist\. Fetch it/],
  ['a whole model', { 'config.json': '{}', 'model.safetensors': '' }, /is a whole model, not an adapter/],
  [
    'a whole model with a configuration of an adapter',
    { [CONFIG]: '{}', 'model.safetensors': '' },
    /those of a whole model/,
  ],
  ['nothing', {}, /adapter_config\.json does not exist\. Name a PEFT adapter folder/],
  ['an adapter below', { [`default/${CONFIG}`]: '{}' }, /The adapter lies below: name .*default$/],
  ['an adapter two below', { [`out/dogs/${CONFIG}`]: '{}' }, /name .*out\/dogs$/],
  [
    'checkpoints of a trainer',
    { [`checkpoint-500/${CONFIG}`]: '{}', [`checkpoint-1000/${CONFIG}`]: '{}', 'trainer_state.json': '{}' },
    /2 adapters below \(checkpoint-500, checkpoint-1000\): name one, for example .*checkpoint-1000$/,
  ],
  [
    "LLaVA's own trainer",
    { [CONFIG]: '{}', [WEIGHTS]: 'w', 'non_lora_trainables.bin': '' },
    /non_lora_trainables\.bin: .*the projector/,
  ],
  [
    'ms-swift with a trained tower',
    { [CONFIG]: '{}', [WEIGHTS]: 'w', 'vit.safetensors': '' },
    /vit\.safetensors: .*the tower/,
  ],
])('says what %s is', async (_, files, message) => {
  put(files);
  await expect(readPeftFolder(folder)).rejects.toThrow(message);
});

it('says what a path is that is no folder', async () => {
  put({ [WEIGHTS]: '', 'lora.bin': '', 'lora.gguf': '', 'notes.txt': '' });
  const of = (name: string) => readPeftFolder(join(folder, name));
  await expect(of(WEIGHTS)).rejects.toThrow(`is a file. Name the folder with both files: ${folder}`);
  await expect(of('lora.bin')).rejects.toThrow(/lora\.bin is a pickle/);
  await expect(of('lora.gguf')).rejects.toThrow(/GGUF is the form/);
  await expect(of('notes.txt')).rejects.toThrow(/it is a file/);
  await expect(of('none')).rejects.toThrow(/none does not exist\. Name a PEFT adapter folder/);
  await expect(readPeftFolder(join(process.cwd(), 'org/some-lora'))).rejects.toThrow(/hf download/);
});
