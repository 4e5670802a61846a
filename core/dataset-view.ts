/** A dataset as a person looks at it: what `lilora validate --html` gathers and its page shows. Bounded, whatever the dataset's size. */
export interface DatasetView {
  /** `name` of the manifest; the place where there is none. */
  readonly name: string;
  readonly place: string;
  /** ISO 8601. */
  readonly madeAt: string;
  /** Absent where the manifest could not be read. */
  readonly manifest?: {
    readonly kind: string;
    readonly metric: string;
    readonly licence: string;
    readonly source: string;
  };
  /** Its version; null for a dataset that is refused. */
  readonly digest: string | null;
  /** The base model whose template and tokenizer read it; null: none was named. */
  readonly model: { readonly name: string; readonly contextLength: number } | null;
  /** What is wrong with it; empty for a good one. */
  readonly problems: ReadonlyArray<{ readonly text: string; readonly sample?: string | undefined }>;
  /** Problems that are not in `problems`. */
  readonly moreProblems: number;
  readonly splits: readonly SplitView[];
  readonly answers: AnswersView;
  /** Of good datasets. */
  readonly pictures: PicturesView | null;
  readonly samples: readonly SampleView[];
  /** Training samples that this model cannot learn. */
  readonly leftOut: Shown<{ readonly id: string; readonly where: string; readonly why: string }>;
  /** Keys of samples that were not read. */
  readonly keys: readonly KeyView[];
  /** Ids that repeat, made unique. */
  readonly renamedIds: Shown<{ readonly was: string; readonly id: string }>;
  /** Samples that are alike, within a split or between two. */
  readonly alike: readonly AlikeView[];
  /** Listed files that no sample uses. */
  readonly unusedFiles: Shown<string>;
}

/** The first of many. */
export interface Shown<T> {
  readonly count: number;
  readonly shown: readonly T[];
}

export interface SplitView {
  readonly name: string;
  readonly samples: number;
  readonly turns: number;
  /** Assistant turns that are learned, or asked for in a test. */
  readonly answers: number;
  readonly images: number;
  /** Samples without a picture. */
  readonly textOnly: number;
  /** Of whole conversations: tokens with a model, else characters. Null: nothing was measured. */
  readonly lengths: Distribution | null;
  /** Of single answers, in characters. */
  readonly answerLengths: Distribution | null;
}

/** Whole numbers, in bars. Middle values of large numbers are to three digits. */
export interface Distribution {
  readonly count: number;
  readonly min: number;
  readonly max: number;
  readonly mean: number;
  readonly median: number;
  /** 95 of a hundred are not above it. */
  readonly p95: number;
  /** From, including, and to, without; the last may hold all that is larger. */
  readonly bars: ReadonlyArray<{ readonly from: number; readonly to: number; readonly count: number }>;
}

export interface AnswersView {
  /** Names of the splits, in the order of the counts. */
  readonly splits: readonly string[];
  /** The commonest first. */
  readonly commonest: ReadonlyArray<{ readonly text: string; readonly counts: readonly number[] }>;
  /** Different answers of each split; `atLeast` where there are more than are kept apart, and only those are counted. */
  readonly distinct: ReadonlyArray<{ readonly count: number; readonly atLeast: boolean }>;
  /** Answers outside the training split that never occur in it; null where that is not known. */
  readonly unseen: number | null;
}

export interface PicturesView {
  /** Different pictures. */
  readonly count: number;
  /** Encoded, of all of them. */
  readonly bytes: number;
  readonly longerSide: Distribution;
  /** The commonest width and height first. */
  readonly sizes: ReadonlyArray<{ readonly width: number; readonly height: number; readonly count: number }>;
  /** Different sizes, and whether there are more than are kept apart. */
  readonly distinct: number;
  readonly atLeast: boolean;
  /** Width and height to two digits, for a picture of all. */
  readonly cloud: ReadonlyArray<{ readonly width: number; readonly height: number; readonly count: number }>;
}

export interface AlikeView {
  /** `same`; `near`: but for case, space, punctuation, encoding; `question`: the same question with another answer. */
  readonly kind: 'same' | 'near' | 'question';
  /** Of the earlier samples, and of the later. */
  readonly splits: readonly [string, string];
  readonly count: number;
  readonly examples: ReadonlyArray<{ readonly where: string; readonly other: string }>;
}

export interface KeyView {
  readonly key: string;
  readonly why: string;
  readonly samples: number;
  readonly where: string;
}

export interface SampleView {
  readonly split: string;
  readonly id: string;
  readonly where: string;
  readonly pictures: readonly PictureView[];
  /** Tools that the template is given, as JSON. */
  readonly tools: readonly string[];
  readonly turns: readonly TurnView[];
  readonly references: readonly string[];
  /** With a model: how many, and what of them is shown. */
  readonly tokens: TokensView | null;
  /** Why this model cannot learn it. */
  readonly leftOut?: string;
}

export interface PictureView {
  /** A `data:` URI; null where the picture is not at hand. */
  readonly small: string | null;
  readonly width?: number;
  readonly height?: number;
}

export interface TurnView {
  /** With the name of the tool that answers. */
  readonly role: string;
  readonly text: string;
  /** Whether it is learned. */
  readonly loss: boolean;
  readonly reasoning?: string;
  /** Calls of tools, as JSON. */
  readonly calls?: readonly string[];
}

export interface TokensView {
  readonly count: number;
  readonly withLoss: number;
  /** In order. `left` tokens between two of them are not shown. */
  readonly spans: readonly (TokenSpan | { readonly left: number })[];
}

/** What stands at one token, or at several that only make a letter together, or at a row of image tokens. */
export interface TokenSpan {
  readonly text: string;
  readonly loss: boolean;
  readonly kind: 'text' | 'special' | 'image';
  /** Tokens. */
  readonly count: number;
}
