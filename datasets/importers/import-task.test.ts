import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import sharp from 'sharp';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { scorerNamed } from '../../learning/evaluation/scorers.ts';
import { localFolder } from '../local-folder.ts';
import { validateDataset } from '../validate.ts';
import { BENCHMARKS } from './benchmarks.ts';
import { importTask } from './import-task.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lilora-import-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Files in the forms that the benchmarks publish: question files under `q`, images and annotations under `i`. */
async function tree(files: Record<string, unknown>, ...images: string[]) {
  const put = (path: string, bytes: Uint8Array | string) => {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), bytes);
  };
  for (const [path, value] of Object.entries(files)) put(path, JSON.stringify(value));
  for (const [n, path] of images.entries()) {
    const background = { r: 40 * n, g: 90, b: 7 };
    put(
      `i/${path}`,
      await sharp({ create: { width: 4, height: 3, channels: 3, background } })
        .jpeg()
        .toBuffer(),
    );
  }
}

const bring = (benchmark: string, task: string, scoring: 'standard' | 'paper' = 'standard', skipMissing = false) => {
  const found = BENCHMARKS.find(({ name }) => name === benchmark)!;
  const places = { questions: join(folder, 'q'), images: join(folder, 'i'), out: join(folder, 'out') };
  return importTask(found, found.tasks.find(({ name }) => name === task)!, places, { scoring, skipMissing });
};
const made = (task: string) => validateDataset(localFolder(join(folder, 'out', task)));
const learned = (question: string, answer: string, image?: string, id: unknown = '1') => ({
  id,
  ...(image && { image }),
  conversations: [
    { from: 'human', value: image ? `<image>\n${question}` : question },
    { from: 'gpt', value: answer },
  ],
});
const WORD = 'Answer the question using a single word or phrase.';

describe('every task of every benchmark', () => {
  it('is scored by metrics that there are, and has a name of its own', () => {
    for (const { tasks } of BENCHMARKS) {
      for (const { metric } of tasks)
        for (const name of Object.values(metric)) expect(scorerNamed(name).name).toBe(name);
      expect(new Set(tasks.map(({ name }) => name)).size).toBe(tasks.length);
    }
  });
});

describe('CVIT', () => {
  it('ScienceQA: letters of problems.json, questions with and without an image', async () => {
    await tree(
      {
        'q/ScienceQA/train.json': [
          learned('Which?\nA. x\nB. y', 'B', './ScienceQA/images/train/1/image.png', '1'),
          learned('What?\nA. x\nB. y', 'A', undefined, '2'),
        ],
        'q/ScienceQA/test.json': [
          { question_id: '4', image: 'ScienceQA/images/test/4/image.png', text: '<image>\nWhere?\nA. x\nB. y' },
          { question_id: '5', text: 'When?\nA. x\nB. y\nC. z' },
        ],
        'i/ScienceQA/problems.json': {
          4: { choices: ['x', 'y'], answer: 1 },
          5: { choices: ['x', 'y', 'z'], answer: 2 },
        },
      },
      'ScienceQA/images/train/1/image.png',
      'ScienceQA/images/test/4/image.png',
    );
    expect(await bring('cvit', 'scienceqa', 'paper')).toMatchObject({
      metric: 'option-letter-paper',
      train: 2,
      test: 2,
    });
    const { manifest, splits } = await made('scienceqa');
    expect(manifest).toMatchObject({
      name: 'scienceqa',
      kind: 'option',
      metric: 'option-letter-paper',
      format: 'llava',
    });
    expect(splits.train!.map(({ id, images }) => [id, images.length])).toEqual([
      ['train-1', 1],
      ['train-2', 0],
    ]);
    expect(splits.test!.map(({ id, turns, references }) => [id, turns[0]!.text, references])).toEqual([
      ['test-4', '<image>\nWhere?\nA. x\nB. y', ['B']],
      ['test-5', 'When?\nA. x\nB. y\nC. z', ['C']],
    ]);
  });

  it('TextVQA: ten answers of its annotations; without them those of the question file, and a note', async () => {
    const answers = ['nokia', 'nokia', 'nokia', 'nokia', 'toshiba', 'nokia', 'nokia', 'nokia', 'nokia', 'nokia'];
    const image = 'TextVQA/train_images/0054c91397f2fe05.jpg';
    await tree(
      {
        'q/TextVQA/train.json': [learned(`What brand?\n${WORD}`, 'dakota', './TextVQA/train_images/a.jpg', 0)],
        'q/TextVQA/val.json': [{ question_id: 34602, image, text: `what is it?\n${WORD}`, answer: 'nokia' }],
        'i/TextVQA/TextVQA_0.5.1_val.json': { data: [{ question_id: 34602, question: 'what is it?', answers }] },
      },
      'TextVQA/train_images/a.jpg',
      image,
    );
    expect((await bring('cvit', 'textvqa')).notes).toEqual([]);
    expect((await made('textvqa')).splits.test![0]!.references).toEqual(answers);
    rmSync(join(folder, 'i/TextVQA/TextVQA_0.5.1_val.json'));
    rmSync(join(folder, 'out'), { recursive: true });
    expect((await bring('coin', 'textvqa')).notes[0]).toMatch(/TextVQA_0\.5\.1_val\.json is not there/);
    expect((await made('textvqa')).splits.test![0]!.references).toEqual(['nokia']);
  });

  it('Flickr30k: all five captions; ImageNet, VQAv2 and GQA: one answer', async () => {
    const captions = ['A dog runs.', 'The dog is running.', 'A brown dog.', 'Dog on grass.', 'It runs.'];
    const test = (image: string, answer: unknown) => [{ question_id: '1', image, text: `What?\n${WORD}`, answer }];
    await tree(
      {
        'q/Flickr30k/train.json': [learned('Describe it.', 'A cat.', './Flickr30k/train/1.jpg')],
        'q/Flickr30k/val.json': test('./Flickr30k/val/2.jpg', captions),
        'q/ImageNet/train.json': [learned('What?', 'tench', 'ImageNet/train/1.jpg')],
        'q/ImageNet/test.json': test('ImageNet/val/2.jpg', 'goldfish'),
        'q/VQAv2/train.json': [learned('What?', 'net', 'COCO2014/train2014/1.jpg')],
        'q/VQAv2/val.json': test('COCO2014/val2014/2.jpg', 'down'),
        'q/GQA/train.json': [learned('Left?', 'no', 'GQA/images/1.jpg')],
        'q/GQA/test.json': [{ question_id: '201307251', image: 'GQA/images/2.jpg', text: `Right?\n${WORD}` }],
        'i/GQA/testdev_balanced_questions.json': { 201307251: { question: 'Right?', answer: 'yes', isBalanced: true } },
      },
      ...['Flickr30k/train', 'Flickr30k/val', 'ImageNet/train', 'ImageNet/val'].map(
        (at, n) => `${at}/${(n % 2) + 1}.jpg`,
      ),
      ...['COCO2014/train2014/1.jpg', 'COCO2014/val2014/2.jpg', 'GQA/images/1.jpg', 'GQA/images/2.jpg'],
    );
    const references = async (task: string) => {
      const { metric } = await bring('cvit', task, 'paper');
      return [metric, (await made(task)).splits.test![0]!.references];
    };
    expect(await references('flickr30k')).toEqual(['cider-paper', captions]);
    expect(await references('imagenet')).toEqual(['containment-paper', ['goldfish']]);
    expect(await references('vqav2')).toEqual(['exact-paper', ['down']]);
    expect(await references('gqa')).toEqual(['gqa', ['yes']]);
  });
});

it('VQAv2 and VizWiz: ten answers of people for the metric of the field, one for that of the scripts', async () => {
  const answers = ['net', 'net', 'nets', 'net', 'net', 'goal', 'net', 'net', 'net', 'net'];
  const people = answers.map((answer, i) => ({ answer, answer_id: i + 1, answer_confidence: 'yes' }));
  const test = (image: string) => [{ question_id: 262148000, image, text: `What?\n${WORD}`, answer: 'net' }];
  await tree(
    {
      'q/VQAv2/train.json': [learned('What?', 'dog', 'COCO2014/train2014/1.jpg')],
      'q/VQAv2/val.json': test('COCO2014/val2014/2.jpg'),
      'i/VQAv2/v2_mscoco_val2014_annotations.json': {
        annotations: [{ question_id: 262148000, image_id: 262148, answers: people }],
      },
      'q/VizWiz/train.json': [learned('What?', 'dog', 'VizWiz/train/1.jpg')],
      'q/VizWiz/val.json': test('VizWiz/val/VizWiz_val_00000002.jpg'),
      'i/VizWiz/Annotations/val.json': [
        { image: 'VizWiz_val_00000002.jpg', question: 'What?', answers: people, answerable: 1 },
      ],
    },
    ...[
      'COCO2014/train2014/1.jpg',
      'COCO2014/val2014/2.jpg',
      'VizWiz/train/1.jpg',
      'VizWiz/val/VizWiz_val_00000002.jpg',
    ],
  );
  for (const task of ['vqav2', 'vizwiz']) {
    expect(await bring('cvit', task)).toMatchObject({ metric: 'vqa', notes: [] });
    expect((await made(task)).splits.test![0]!.references).toEqual(answers);
    rmSync(join(folder, 'out', task), { recursive: true });
    expect(await bring('coin', task, 'paper')).toMatchObject({ metric: 'exact-paper', notes: [] });
    expect((await made(task)).splits.test![0]!.references).toEqual(['net']);
  }
  rmSync(join(folder, 'out'), { recursive: true });
  rmSync(join(folder, 'i/VQAv2/v2_mscoco_val2014_annotations.json'));
  expect(await bring('cvit', 'vqav2')).toMatchObject({
    metric: 'exact',
    notes: [expect.stringMatching(/annotations\.json is not there/)],
  });
  writeFileSync(join(folder, 'i/VizWiz/Annotations/val.json'), '[]');
  await expect(bring('cvit', 'vizwiz')).rejects.toThrow(/val\.json has no answer to question "262148000"/);
});

it('CoIN grounding: boxes, as text or as numbers', async () => {
  await tree(
    {
      'q/Grounding/train.json': [learned('Where is the man?', '[0.12,0.30,0.48,0.95]', 'COCO2014/train2014/1.jpg')],
      'q/Grounding/test.json': [
        {
          question_id: 'a',
          image: 'COCO2014/train2014/2.jpg',
          text: 'The dog',
          answer_bbox: '[0.1,0.2,0.5,0.6]',
          size: [640, 480],
        },
        {
          question_id: 'b',
          image: 'COCO2014/train2014/2.jpg',
          text: 'The cat',
          answer_bbox: [0.1, 0.2, 0.5, 0.6],
          size: [640, 480],
        },
      ],
    },
    'COCO2014/train2014/1.jpg',
    'COCO2014/train2014/2.jpg',
  );
  expect(await bring('coin', 'grounding', 'paper')).toMatchObject({ metric: 'box-coin' });
  const { splits } = await made('grounding');
  const box = [0.1, 0.2, 0.5, 0.6];
  for (const { references } of splits.test!) expect(JSON.parse(references[0]!)).toEqual(box);
});

describe('UCIT', () => {
  const coco = (name: string) => ({
    images: [
      { id: 1, file_name: '7.jpg' },
      { id: 2, file_name: name },
    ],
    annotations: [
      { id: 0, image_id: 2, caption: 'A cup on a desk.' },
      { id: 1, image_id: 1, caption: 'A key.' },
      { id: 2, image_id: 2, caption: 'There is a cup.' },
    ],
  });
  const questions = (...names: string[]) =>
    names.map((name) => ({ question_id: name, image: `VizWiz/val/${name}.jpg`, text: 'Describe it.' }));

  it('captions: counted in the order of the questions, and checked by the names of the images', async () => {
    await tree(
      {
        'q/VizWiz/train.json': [learned('Describe it.', 'A can.', 'VizWiz/train/1.jpg')],
        'q/VizWiz/test_3000.json': questions('7', '8'),
        'q/VizWiz/val_coco_type_3000.json': coco('8.jpg'),
      },
      ...['VizWiz/train/1.jpg', 'VizWiz/val/7.jpg', 'VizWiz/val/8.jpg'],
    );
    expect((await bring('ucit', 'vizwiz-captions')).notes).toEqual([]);
    const { splits } = await made('vizwiz-captions');
    expect(splits.test!.map(({ references }) => references)).toEqual([
      ['A key.'],
      ['A cup on a desk.', 'There is a cup.'],
    ]);
    rmSync(join(folder, 'out'), { recursive: true });
    // Its script scores captions by METEOR, too.
    const { metric, notes } = await bring('ucit', 'vizwiz-captions', 'paper');
    expect([metric, notes]).toEqual(['cider', [expect.stringMatching(/METEOR.*do not compare with published ones/)]]);
    rmSync(join(folder, 'out'), { recursive: true });
    writeFileSync(join(folder, 'q/VizWiz/val_coco_type_3000.json'), JSON.stringify(coco('9.jpg')));
    await expect(bring('ucit', 'vizwiz-captions')).rejects.toThrow(
      /image 2 is "9\.jpg".*asks about "VizWiz\/val\/8\.jpg"/,
    );
  });

  it('the files of 40 000 samples are found, too', async () => {
    const test = [{ question_id: 3, image: 'ArxivQA/images/2.jpg', text: 'Which?\nA) x\nB) y', answer: 'B' }];
    await tree(
      { 'q/ArxivQA/train_4w.json': [learned('Which?', 'A', 'ArxivQA/images/1.jpg')], 'q/ArxivQA/test_3000.json': test },
      ...['ArxivQA/images/1.jpg', 'ArxivQA/images/2.jpg'],
    );
    expect(await bring('ucit', 'arxivqa', 'paper')).toMatchObject({ metric: 'exact-paper', train: 1, test: 1 });
  });
});

describe('what stands in the way', () => {
  const train = [learned('What?', 'tench', 'ImageNet/1.jpg'), learned('What?', 'goldfish', 'ImageNet/3.jpg')];
  const test = [{ question_id: '1', image: 'ImageNet/2.jpg', text: 'What?', answer: 'goldfish' }];
  const start = (files: Record<string, unknown> = {}, ...images: string[]) =>
    tree({ 'q/ImageNet/train.json': train, 'q/ImageNet/test.json': test, ...files }, ...images);

  it('training samples that are test samples are left out, by what the picture holds', async () => {
    await start({}, 'ImageNet/1.jpg', 'ImageNet/2.jpg');
    writeFileSync(join(folder, 'i/ImageNet/3.jpg'), readFileSync(join(folder, 'i/ImageNet/2.jpg')));
    expect(await bring('coin', 'imagenet')).toMatchObject({ train: 1, test: 1, overlap: 1 });
    expect((await made('imagenet')).splits.train!.map(({ id }) => id)).toEqual(['train-1']);
    await expect(bring('coin', 'imagenet')).rejects.toThrow(/is there already/);
  });

  it('missing images are counted and named, and nothing is left behind', async () => {
    await start({}, 'ImageNet/1.jpg');
    await expect(bring('coin', 'imagenet')).rejects.toMatchObject({
      name: 'NotFound',
      message: expect.stringMatching(/^2 image\(s\) are not in .*ImageNet\/3\.jpg, ImageNet\/2\.jpg\. Fetch/),
    });
    expect(existsSync(join(folder, 'out/imagenet'))).toBe(false);
    expect(existsSync(join(folder, 'out/.imagenet.part'))).toBe(false);
  });

  it('or the samples that need them are left out and counted', async () => {
    await start({}, 'ImageNet/1.jpg', 'ImageNet/2.jpg');
    expect(await bring('coin', 'imagenet', 'standard', true)).toMatchObject({
      train: 1,
      test: 1,
      missing: 1,
      overlap: 0,
    });
    expect((await made('imagenet')).splits.train!.map(({ id }) => id)).toEqual(['train-1']);
  });

  it.each([
    [
      'a way out',
      { 'q/ImageNet/train.json': [learned('a', 'b', '../../etc/passwd')] },
      /train\.json\[0\]: image .*leaves/,
    ],
    ['a URL', { 'q/ImageNet/train.json': [learned('a', 'b', 'http://x/1.jpg')] }, /URL/],
    ['no answer', { 'q/ImageNet/test.json': [{ question_id: 1, text: 'a' }] }, /test\.json\[0\]: no answer here/],
    [
      'no question',
      { 'q/ImageNet/test.json': [{ question_id: 1, answer: 'a' }] },
      /test\.json\[0\]: turn 1 .*is empty/,
    ],
    ['no conversation', { 'q/ImageNet/train.json': [{ id: 1 }] }, /train\.json\[0\]: "conversations"/],
    ['another form', { 'q/ImageNet/train.json': { a: 1 } }, /train\.json: a list of samples is expected/],
  ])('%s is refused by name and place', async (_, files, message) => {
    await start(files, 'ImageNet/1.jpg', 'ImageNet/2.jpg', 'ImageNet/3.jpg');
    await expect(bring('coin', 'imagenet')).rejects.toMatchObject({
      name: 'BadDataset',
      message: expect.stringMatching(message),
    });
  });

  it('symbolic links and missing question files are refused', async () => {
    await start({}, 'ImageNet/1.jpg', 'ImageNet/2.jpg');
    symlinkSync('/etc/hostname', join(folder, 'i/ImageNet/3.jpg'));
    await expect(bring('coin', 'imagenet')).rejects.toThrow(/3\.jpg: a symbolic link/);
    await expect(bring('coin', 'vqav2')).rejects.toThrow(/VQAv2 has no val\.json or test\.json/);
  });
});
