import type { Manifest } from '../manifest.ts';
import {
  type AnswerFile,
  cocoCaptions,
  gqaAnswers,
  scienceQaLetters,
  textVqaAnswers,
  vizWizAnswers,
  vqaAnswers,
} from './answers.ts';

/** One task of a benchmark: where its files lie and how its answers are scored. */
export interface BenchmarkTask {
  /** Name of the dataset that it becomes. */
  readonly name: string;
  /** Folder of its question files. */
  readonly folder: string;
  /** Names of the file in the order in which they are looked for. */
  readonly train: readonly string[];
  readonly test: readonly string[];
  readonly kind: Manifest['kind'];
  /** The metric of the field, and the one that the released scripts compute. */
  readonly metric: { readonly standard: string; readonly paper: string };
  /** Where the accepted answers stand, if not in the question file. */
  readonly answers?: AnswerFile;
  /** Said with `paper` scoring: why its scores still do not compare with published ones. */
  readonly caution?: string;
}

/** A tree of question files as a paper's authors publish it. */
export interface Benchmark {
  readonly name: string;
  readonly title: string;
  readonly source: string;
  /** In the order of the paper. */
  readonly tasks: readonly BenchmarkTask[];
}

const LETTER = { standard: 'option-letter', paper: 'option-letter-paper' };
const EXACT = { standard: 'exact', paper: 'exact-paper' };
const CAPTION = { standard: 'cider', paper: 'cider-paper' };
const TRAIN = ['train.json'];
const TEST = ['test.json'];
/** The test splits of some datasets are published without answers. */
const VALIDATION = ['val.json', 'test.json'];

const scienceQa: BenchmarkTask = {
  name: 'scienceqa',
  folder: 'ScienceQA',
  train: TRAIN,
  test: TEST,
  kind: 'option',
  metric: LETTER,
  answers: scienceQaLetters,
};
const textVqa: BenchmarkTask = {
  name: 'textvqa',
  folder: 'TextVQA',
  train: TRAIN,
  test: VALIDATION,
  kind: 'short-answer',
  metric: { standard: 'vqa', paper: 'vqa' },
  answers: textVqaAnswers,
};
const imageNet = (paper: string): BenchmarkTask => ({
  name: 'imagenet',
  folder: 'ImageNet',
  train: TRAIN,
  test: TEST,
  kind: 'classification',
  metric: { standard: 'containment', paper },
});
const gqa: BenchmarkTask = {
  name: 'gqa',
  folder: 'GQA',
  train: TRAIN,
  test: TEST,
  kind: 'short-answer',
  metric: { standard: 'gqa', paper: 'gqa' },
  answers: gqaAnswers,
};
const oneAnswer = (name: string, folder: string, test: readonly string[]): BenchmarkTask => ({
  name,
  folder,
  train: TRAIN,
  test,
  kind: 'short-answer',
  metric: EXACT,
});
const vqaV2: BenchmarkTask = { ...oneAnswer('vqav2', 'VQAv2', VALIDATION), answers: vqaAnswers };
const vizWiz: BenchmarkTask = { ...oneAnswer('vizwiz', 'VizWiz', VALIDATION), answers: vizWizAnswers };
const ocrVqa: BenchmarkTask = {
  ...oneAnswer('ocrvqa', 'OCRVQA', ['test_1.json', 'test.json', 'val.json']),
  metric: { standard: 'exact', paper: 'exact-ocrvqa' },
};
const UCIT_TRAIN = ['train.json', 'train_4w.json', 'train_brief_4w.json'];
const UCIT_TEST = ['test_3000.json', 'test.json'];
const ucit = (name: string, folder: string, rest: Partial<BenchmarkTask> = {}): BenchmarkTask => ({
  ...oneAnswer(name, folder, UCIT_TEST),
  train: UCIT_TRAIN,
  ...rest,
});
const ucitCaptions = {
  kind: 'caption',
  metric: { standard: 'cider', paper: 'cider' },
  answers: cocoCaptions,
  caution:
    'the released script averages BLEU, METEOR 1.5, ROUGE-L and CIDEr, of which CIDEr is computed here (METEOR 1.5 needs tables of synonyms and paraphrases): these scores do not compare with published ones',
} as const;

/** One entry per benchmark: what `lilora import` knows. */
export const BENCHMARKS: readonly Benchmark[] = [
  {
    name: 'cvit',
    title: 'CVIT, the benchmark of SMoLoRA and LiLoRA',
    source: 'https://huggingface.co/datasets/zackie29/SMoLoRA',
    tasks: [
      scienceQa,
      textVqa,
      { name: 'flickr30k', folder: 'Flickr30k', train: TRAIN, test: VALIDATION, kind: 'caption', metric: CAPTION },
      imageNet('containment-paper'),
      gqa,
      vqaV2,
      vizWiz,
      {
        name: 'textcaps',
        folder: 'TextCaps',
        train: TRAIN,
        test: VALIDATION,
        kind: 'caption',
        metric: { standard: 'cider', paper: 'cider-textcaps' },
      },
      ocrVqa,
      {
        name: 'places365',
        folder: 'Places365',
        train: ['train_10shot.json', 'train_5shot.json', 'train.json'],
        test: VALIDATION,
        kind: 'classification',
        metric: { standard: 'containment', paper: 'containment-paper' },
      },
    ],
  },
  {
    name: 'coin',
    title: 'CoIN',
    source: 'https://huggingface.co/datasets/Zacks-Chen/CoIN',
    tasks: [
      scienceQa,
      textVqa,
      imageNet('containment-coin'),
      gqa,
      vizWiz,
      { ...oneAnswer('grounding', 'Grounding', TEST), kind: 'open', metric: { standard: 'box', paper: 'box-coin' } },
      vqaV2,
      ocrVqa,
    ],
  },
  {
    name: 'ucit',
    title: 'UCIT, the benchmark of HiDe-LLaVA',
    source: 'https://huggingface.co/datasets/HaiyangGuo/UCIT',
    tasks: [
      ucit('imagenet-r', 'ImageNet-R', { kind: 'classification' }),
      ucit('arxivqa', 'ArxivQA', { kind: 'option', metric: { standard: 'option-letter', paper: 'exact-paper' } }),
      ucit('vizwiz-captions', 'VizWiz', ucitCaptions),
      ucit('iconqa', 'IconQA'),
      ucit('clevr-math', 'CLEVR'),
      ucit('flickr30k', 'Flickr30k', ucitCaptions),
    ],
  },
];
