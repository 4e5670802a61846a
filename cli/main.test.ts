import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { DEFAULTS } from '../core/defaults.ts';
import { methodNames } from '../learning/methods/registry.ts';
import { listen } from '../test/said.ts';
import { writeSmallDataset } from '../test/small-dataset.ts';
import { buildProgram, DONE, FAILED, MISUSE, main } from './main.ts';
import type { MethodFacts } from './verbs/methods.ts';

let folder: string;
let said: ReturnType<typeof listen>;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lilora-cli-'));
  vi.stubEnv('LILORA_HOME', join(folder, 'home'));
  for (const name of ['TEMPORAL_ADDRESS', 'LILORA_STORE', 'LILORA_DEBUG']) vi.stubEnv(name, undefined);
  said = listen();
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  process.exitCode = undefined;
  rmSync(folder, { recursive: true, force: true });
});

const program = await buildProgram();

describe('help', () => {
  const verbs = program.commands.map((command) => command.name());

  it('knows every verb', () => {
    const wanted =
      'demo dev create methods import manifest validate submit watch status report cost budget approve reject pause resume cancel rollback remove schedule pull merge bank predict worker listen doctor';
    expect(verbs.sort()).toEqual(wanted.split(' ').sort());
  });

  it.each(verbs)('of %s has an example and goes to stdout', async (verb) => {
    expect(await main([verb, '--help'])).toBe(DONE);
    expect(said.stdout).toMatch(new RegExp(`Usage: lilora ${verb}[\\s\\S]*Examples?:\\n {2}\\$ lilora ${verb}`));
    expect(said.stderr).toBe('');
  });
});

describe('misuse has exit code 2 and says so on stderr', () => {
  it.each([
    [[], /Usage: lilora/],
    [['nonsense'], /unknown command 'nonsense'/],
    [['create', 'pets'], /--model <uri>' not specified/],
    [['submit', 'pets'], /missing required argument 'dataset'/],
    [['rollback', 'pets', 'two'], /must be a whole number/],
    [['remove', 'pets', 'dogs'], /cannot be undone.*say --yes/],
    [['merge', 'pets', 'dogs', 'cats', '--how', 'cat'], /must be linear or ties/],
    [['worker', 'gpu', '--idle-exit', '-1'], /number of seconds/],
    [['listen', 'rules.json', '--port', '70000'], /must be a port/],
    [['budget', 'pets', '--task-money', 'much'], /number from 0, or "none"/],
    [['status', '--nope'], /unknown option '--nope'/],
    [['schedule', 'create', 'nonsense', 'pets'], /Choose from sweep, drift-watch, compact/],
    [['schedule', 'create', 'sweep', 'pets'], /sweep needs --prefix/],
    [['schedule', 'create', 'sweep', '--prefix', 's3://a'], /sweep needs a stream/],
    [['schedule', 'create', 'compact', '--points', '3'], /--points goes with drift-watch/],
    [['schedule', 'create', 'compact', '--every', 'often'], /a time such as 90s/],
    [['schedule', 'create', 'compact', '--every', '1h', '--cron', '0 3 * * *'], /cannot be used with/],
    [['demo', '--tasks', 'digit,digit'], /different names/],
    [['dev', '--gpu-workers', '0'], /at least 1/],
    [['predict', 'prompt without anything'], /--model DIR/],
    [['predict', 'pets', 'x', '--adapter', 'a'], /--adapter goes with --model/],
  ])('%j', async (args, message) => {
    expect(await main(args)).toBe(MISUSE);
    expect(said.stderr).toMatch(message);
    expect(said.stdout).toBe('');
  });
});

describe('methods', () => {
  it('tells all of them as JSON, and one for people', async () => {
    expect(await main(['methods', '--json'])).toBe(DONE);
    const facts = JSON.parse(said.stdout) as MethodFacts[];
    expect(facts.map(({ name }) => name)).toEqual(methodNames());
    const [lilora] = facts;
    expect(lilora).toMatchObject({
      paper: 'arXiv:2508.06202',
      needsTask: true,
      shared: ['A', 'B0'],
      steps: ['regularize', 'safe', 'rounds', 'export'],
    });
    expect(lilora!.options).toContainEqual({
      name: 'stabilityWeight',
      default: 1,
      why: DEFAULTS['lilora.stabilityWeight'].why,
      schema: { type: 'number', minimum: 0, default: 1 },
    });
    expect(lilora!.options.find(({ name }) => name === 'innerRank')!.default, 'follows from the rank').toBe(8);
    said.stdout = '';
    expect(await main(['methods', 'moelora'])).toBe(DONE);
    expect(said.stdout).toMatch(/^moelora: .*\n.*arXiv:2403\.08350.*need not name its task[\s\S]*experts +8 +integer/);
  });
});

describe('failure has exit code 1 and is one block without a stack', () => {
  it('a store that is not named', async () => {
    expect(await main(['pull', 'pets', folder])).toBe(FAILED);
    expect(said.stderr).toMatch(/^lilora: BadConfig: LILORA_STORE is not set\..*\n$/);
  });

  it('a server that does not answer', async () => {
    vi.stubEnv('TEMPORAL_ADDRESS', '127.0.0.1:1');
    expect(await main(['status'])).toBe(FAILED);
    expect(said.stderr).toMatch(/^lilora: BadConfig: Temporal does not answer at 127\.0\.0\.1:1.*lilora dev/);
    expect(said.stderr).not.toMatch(/\n\s+at /);
  });

  it('nothing published', async () => {
    vi.stubEnv('LILORA_STORE', join(folder, 'store'));
    expect(await main(['report', 'pets'])).toBe(FAILED);
    expect(said.stderr).toMatch(/NotFound: Stream pets has published nothing yet/);
  });

  it('an image that is not there', async () => {
    expect(await main(['predict', '--model', folder, '--image', join(folder, 'a.png'), 'what?'])).toBe(FAILED);
    expect(said.stderr).toMatch(/NotFound: .*a\.png: no such file/);
  });
});

describe('bank', () => {
  const theirs = fileURLToPath(new URL('../test/fixtures/released-bank/bank.safetensors', import.meta.url));
  const into = (...more: string[]) => main(['bank', 'import', theirs, join(folder, 'bank'), ...more]);

  it('comes in with an adapter for each task, and goes out', async () => {
    expect(await into('--tasks', 'sqa', 'gqa', 'vqav2')).toBe(DONE);
    expect(said.stdout).toMatch(/bank\.safetensors: 5 layers, rank 4, alpha 8, inner rank 2; sqa, gqa, vqav2\n$/);
    expect(JSON.parse(readFileSync(join(folder, 'bank/gqa/adapter_config.json'), 'utf8'))).toMatchObject({
      r: 4,
      lora_alpha: 8,
      base_model_name_or_path: 'llava-hf/llava-1.5-7b-hf',
    });
    const out = join(folder, 'out.safetensors');
    expect(await main(['bank', 'export', join(folder, 'bank/bank.safetensors'), out, '--json'])).toBe(DONE);
    expect(JSON.parse(said.stdout.split('\n')[1]!)).toMatchObject({
      file: out,
      layers: 5,
      tasks: ['sqa', 'gqa', 'vqav2'],
    });
    expect(await into()).toBe(FAILED);
    expect(said.stderr).toMatch(/is there already/);
  });

  it('is refused by name', async () => {
    expect(await into('--tasks', '../a', 'b', 'c')).toBe(FAILED);
    expect(said.stderr).toMatch(/"\.\.\/a" is no name of a task/);
    expect(await main(['bank', 'export', theirs, join(folder, 'out')])).toBe(FAILED);
    expect(said.stderr).toMatch(/it is not a bank of this product/);
    expect(await main(['bank', 'import', join(folder, 'none'), join(folder, 'bank')])).toBe(FAILED);
    expect(said.stderr).toMatch(/NotFound: .*none cannot be read/);
  });
});

describe('manifest', () => {
  const about = ['--metric', 'exact', '--licence', 'CC0-1.0', '--source', 'tests'];

  it('makes a dataset of a folder as people have it', async () => {
    const data = join(folder, 'My Dogs');
    mkdirSync(join(data, 'data'), { recursive: true });
    const parquet = new URL('../test/fixtures/formats/hub-labels.parquet', import.meta.url);
    writeFileSync(join(data, 'data', 'train-00000-of-00001.parquet'), readFileSync(parquet));
    writeFileSync(join(data, 'data', 'validation.jsonl'), '{"image": null, "question": "Two?", "answer": "2"}\n');
    writeFileSync(join(data, 'README.md'), 'text');
    expect(await main(['manifest', data, ...about, '--question', 'Which animal?'])).toBe(DONE);
    expect(said.stdout).toMatch(
      /dataset\.json: my-dogs, 3 files\n {2}train: data\/train-00000-of-00001\.parquet\n {2}test:/,
    );
    expect(said.stderr).toMatch(/the validation split is taken for it/);
    said.stdout = '';
    expect(await main(['validate', data, '--json'])).toBe(DONE);
    expect(JSON.parse(said.stdout)).toMatchObject({
      name: 'my-dogs',
      splits: [{ samples: 4, images: 4 }, { samples: 1 }],
    });
    expect(await main(['manifest', data, ...about])).toBe(FAILED);
    expect(said.stderr).toMatch(/is there already/);
  });

  it('takes the configuration and the folder of images that are named', async () => {
    for (const name of ['main', 'other'])
      for (const split of ['train', 'test']) {
        mkdirSync(join(folder, name), { recursive: true });
        const row = { image: 'coco/1.png', question: `Which, for ${split}?`, answer: name };
        writeFileSync(join(folder, name, `${split}.jsonl`), JSON.stringify(row));
      }
    mkdirSync(join(folder, 'images/coco'), { recursive: true });
    const picture = new URL('../test/fixtures/pictures/grey.png', import.meta.url);
    writeFileSync(join(folder, 'images/coco/1.png'), readFileSync(picture));
    expect(await main(['manifest', folder, ...about, '--images', './images/'])).toBe(FAILED);
    expect(said.stderr).toMatch(/several folders: main, other.*--config main/);
    const options = ['--name', 'coco', '--images', './images/', '--config', 'other'];
    expect(await main(['manifest', folder, ...about, ...options])).toBe(DONE);
    expect(said.stdout).toMatch(/train: other\/train\.jsonl\n {2}test: other\/test\.jsonl/);
    said.stdout = '';
    expect(await main(['validate', folder, '--json'])).toBe(DONE);
    expect(JSON.parse(said.stdout)).toMatchObject({ splits: [{ images: 1 }, { images: 1 }] });
  });

  it('writes what the samples need to be read, as options say it', async () => {
    const rows = ['train', 'test'].map((split) => ({ ask: `What, for ${split}?`, breed: 'Beagle', hint: 'ears' }));
    for (const [i, split] of ['train', 'test'].entries())
      writeFileSync(join(folder, `${split}.jsonl`), JSON.stringify(rows[i]));
    const options = ['--column', 'question=ask', 'answer=breed', '--ignore', 'hint', '--reasoning', 'leave-out'];
    expect(await main(['manifest', folder, ...about, ...options, '--special-tokens', '--marker', '<pic>'])).toBe(DONE);
    expect(JSON.parse(readFileSync(join(folder, 'dataset.json'), 'utf8'))).toMatchObject({
      columns: { question: 'ask', answer: 'breed' },
      ignore: ['hint'],
      reasoning: 'leave-out',
      marker: '<pic>',
      specialTokens: true,
    });
    expect(await main(['validate', folder])).toBe(DONE);
    rmSync(join(folder, 'dataset.json'));
    expect(await main(['manifest', folder, ...about, '--column', 'ask'])).toBe(FAILED);
    expect(said.stderr).toMatch(/write what it is and its name/);
    expect(await main(['manifest', folder, ...about, '--column', 'ask=question'])).toBe(FAILED);
    expect(said.stderr).toMatch(/columns/);
  });

  it('asks for what it cannot tell', async () => {
    writeFileSync(join(folder, 'a.json'), '[]');
    expect(await main(['manifest', folder, ...about])).toBe(FAILED);
    expect(said.stderr).toMatch(/Name them with --train and --test/);
    expect(await main(['manifest', folder, '--metric', 'exact'])).toBe(MISUSE);
  });
});

describe('import', () => {
  it('makes the datasets of a benchmark that it finds, and they validate', async () => {
    const question = (id: number) => ({ question_id: id, text: `Which, ${id}?\nA. x\nB. y`, answer: 'B' });
    const conversations = [
      { from: 'human', value: 'Which?' },
      { from: 'gpt', value: 'A' },
    ];
    mkdirSync(join(folder, 'q', 'ScienceQA'), { recursive: true });
    writeFileSync(join(folder, 'q/ScienceQA/train.json'), JSON.stringify([{ id: 1, conversations }]));
    writeFileSync(join(folder, 'q/ScienceQA/test.json'), JSON.stringify([question(1), question(2)]));
    expect(await main(['import', 'coin', join(folder, 'q'), join(folder, 'out')])).toBe(DONE);
    expect(said.stdout).toMatch(/scienceqa +option-letter +1 +2 +0 +0 /);
    expect(said.stderr).toMatch(/scienceqa: .*problems\.json is not there: the answers of the question file/);
    said.stdout = '';
    expect(await main(['validate', join(folder, 'out', 'scienceqa'), '--json'])).toBe(DONE);
    expect(JSON.parse(said.stdout)).toMatchObject({ ok: true, name: 'scienceqa', kind: 'option' });
    expect(await main(['import', 'ucit', join(folder, 'q'), join(folder, 'out')])).toBe(FAILED);
    expect(said.stderr).toMatch(/NotFound: .*holds none of ImageNet-R, ArxivQA/);
    expect(await main(['import', 'mtil', join(folder, 'q'), join(folder, 'out')])).toBe(FAILED);
    expect(said.stderr).toMatch(/no benchmark "mtil"\. Choose from cvit, coin, ucit/);
  });
});

describe('validate', () => {
  const make = (spoil?: Parameters<typeof writeSmallDataset>[1]['spoil']) =>
    writeSmallDataset(join(folder, 'data'), { name: 'colours', train: 5, test: 2, seed: 0, spoil });

  it('counts, for people and as JSON', async () => {
    await make();
    expect(await main(['validate', join(folder, 'data')])).toBe(DONE);
    expect(said.stdout).toMatch(/colours: a good dataset\.[\s\S]*train +5 +10 +5\ntest +2 +4 +2\n$/);
    said.stdout = '';
    expect(await main(['validate', join(folder, 'data', 'dataset.json'), '--json'])).toBe(DONE);
    expect(JSON.parse(said.stdout)).toMatchObject({
      ok: true,
      name: 'colours',
      splits: [{ split: 'train', samples: 5 }, { split: 'test' }],
    });
  });

  it('writes a page that shows the dataset, whatever its texts are', async () => {
    await make((samples) => {
      samples[1]!.conversations[1]!.value = '<script>alert(1)</script>\u001b[31m';
    });
    const page = join(folder, 'page.html');
    expect(await main(['validate', join(folder, 'data'), '--html', page])).toBe(DONE);
    const html = readFileSync(page, 'utf8');
    expect(html).toContain('&lt;script&gt;alert(1)&lt;/script&gt;\\u{1b}[31m');
    expect(html).not.toContain('<script');
    expect(html.match(/<img /g)).toHaveLength(7);
    expect(html).toMatch(/✓ a good dataset[\s\S]*>train<[\s\S]*>5<[\s\S]*>10</);
    expect(said.stdout).toMatch(/colours: a good dataset/);
  });

  it('writes a page of a dataset that is refused, too', async () => {
    await make((samples) => {
      samples[1]!.image = '../outside.png';
    });
    const page = join(folder, 'page.html');
    expect(await main(['validate', join(folder, 'data'), '--html', page])).toBe(FAILED);
    expect(said.stderr).toMatch(/page\.html shows the dataset[\s\S]*BadDataset/);
    expect(readFileSync(page, 'utf8')).toMatch(/✗ refused: [\s\S]*outside\.png/);
  });

  it('writes a page of a dataset whose metric nobody knows', async () => {
    await make();
    const manifest = join(folder, 'data', 'dataset.json');
    writeFileSync(manifest, readFileSync(manifest, 'utf8').replace('"exact"', '"spice"'));
    const page = join(folder, 'page.html');
    expect(await main(['validate', join(folder, 'data'), '--html', page])).toBe(FAILED);
    expect(said.stderr).toMatch(/There is no metric "spice"/);
    expect(readFileSync(page, 'utf8')).toMatch(/✗ refused: 1 problem<[\s\S]*There is no metric &quot;spice&quot;/);
  });

  it('says at once where a page cannot be written', async () => {
    await make();
    expect(await main(['validate', join(folder, 'data'), '--html', join(folder, 'none', 'page.html')])).toBe(FAILED);
    expect(said.stderr).toMatch(/BadConfig: .*page\.html: its folder is not there/);
  });

  it('names what is wrong, without letting it steer the terminal', async () => {
    await make((samples, split) => {
      if (split === 'train') samples[3] = { ...samples[3]!, id: 'x', image: 'images/\u001b[31m.png' };
    });
    expect(await main(['validate', join(folder, 'data')])).toBe(FAILED);
    expect(said.stderr).toMatch(/BadDataset: .*1 problem\(s\) found[\s\S]*train\.json\[3\]/);
    expect(said.stderr).not.toContain('\u001b[31m');
    expect(said.stdout).toBe('');
  });

  it('names the metrics there are when a dataset asks for another', async () => {
    await make();
    const manifest = join(folder, 'data', 'dataset.json');
    writeFileSync(manifest, readFileSync(manifest, 'utf8').replace('"exact"', '"spice"'));
    expect(await main(['validate', join(folder, 'data')])).toBe(FAILED);
    expect(said.stderr).toMatch(/BadDataset: There is no metric "spice"\. Choose from option-letter, .*cider/);
    expect(said.stdout).toBe('');
  });
});
