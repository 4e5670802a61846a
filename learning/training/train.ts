import { DEFAULTS } from '../../core/defaults.ts';
import { LiloraError } from '../../core/errors.ts';
import type { TensorMap } from '../../core/host-tensor.ts';
import type { EncodedSample } from '../../core/sample.ts';
import type { Bank, Ended, Method, Trainable, TrainableTensor } from '../methods/method.ts';
import type { AdaptedLayer, BaseModel } from '../model/model.ts';
import type { AdamWState } from './adamw.ts';
import { readCheckpoint, writeCheckpoint } from './checkpoint.ts';
import type { FeatureSource } from './features.ts';
import { type Loop, trainingLoop } from './loop.ts';
import type { Rehearsed } from './mixture.ts';
import type { StepProgress, TrainingOptions } from './options.ts';
import { holdOut, TaskProbe } from './probe.ts';
import { Random } from './random.ts';

/** One task to learn. */
export interface TrainTask {
  readonly model: BaseModel;
  readonly method: Method;
  readonly options: Record<string, unknown>;
  /** Layers to adapt; a bank that is there must have the same. */
  readonly layers: readonly AdaptedLayer[];
  /** Null: this is the first task, and the method starts a bank. */
  readonly bank: Bank | null;
  readonly task: string;
  readonly samples: readonly EncodedSample[];
  /** Samples of earlier tasks, as many as the method asked for (`Method.rehearsal`). */
  readonly rehearsed?: readonly Rehearsed[] | undefined;
  /** Vision features of images in this order, [images, tokens, width]; training disposes of them. */
  readonly features: FeatureSource;
  readonly training: TrainingOptions;
  readonly seed: number;
  /** Digests of all that the run depends on, by what they are of: a checkpoint of another run is refused. */
  readonly identity: Readonly<Record<string, string>>;
  /** `beginTask` of this very task, when it was done before. */
  readonly begun?: BegunTask | undefined;
  /** A checkpoint of this very run to go on from. */
  readonly resume?: Uint8Array | undefined;
  /** Least time between two checkpoints; 0: after every step. */
  readonly checkpointSeconds: number;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: StepProgress) => void;
  /** A sign of life while a method looks at data before and after training. */
  readonly onAlive?: () => void;
  /** Stores a checkpoint taken after `step` steps; training waits for it. */
  readonly onCheckpoint?: (bytes: Uint8Array, step: number) => Promise<void>;
}

/**
 * Learns one task and gives a new bank that contains it. The same input gives the same bank, bit for bit, on one engine
 * with one number of threads, also when the run was cut and resumed. Errors: `BadConfig` for options or a checkpoint
 * that do not fit, `IntegrityError` for a damaged checkpoint, `NonFiniteLoss`, and `Cancelled` after a last checkpoint.
 */
export async function trainTask(run: TrainTask): Promise<{ bank: Bank; steps: number; whyEager: string | null }> {
  const { method, task, options } = run;
  const { samples, heldOut } = holdOut(run, method.heldOut?.(options) ?? 0);
  const probe = new TaskProbe({ ...run, samples, heldOut });
  try {
    const prepared = method.before ? await method.before(startBank(run), task, options, probe) : run.bank;
    const { bank, trainable, random } = run.begun ?? beginTask({ ...run, bank: prepared });
    const done = trainsAnything(trainable)
      ? await trainingLoop({
          ...run,
          ...checkpointing(run),
          samples,
          trainable,
          random: random.split(`train ${task}`),
          penalty: true,
        })
      : { trained: new Map(), steps: 0, whyEager: null };
    const finished = method.finish(bank, trainable, done.trained);
    const further: Ended['further'] = (request) =>
      trainFurther({ ...run, samples }, withStart(trainable, done.trained), random.split(`further ${task}`), request);
    const after = method.after
      ? await method.after(finished, task, options, probe, { begun: bank, further })
      : finished;
    return { bank: after, steps: done.steps, whyEager: done.whyEager };
  } finally {
    probe.dispose();
  }
}

/** The same to train, from where training ended. */
function withStart(trainable: Trainable, trained: TensorMap): Trainable {
  const tensors = [...trainable.tensors].map(([key, tensor]): [string, TrainableTensor] => {
    const start = trained.get(key);
    return [key, start ? { ...tensor, start } : tensor];
  });
  return { ...trainable, tensors: new Map(tensors) };
}

/** `Ended.further`. */
async function trainFurther(
  run: TrainTask,
  trainable: Trainable,
  random: Random,
  { snapshots, every, rate }: Parameters<Ended['further']>[0],
): Promise<TensorMap[]> {
  const found: TensorMap[] = [];
  let steps = 0;
  const { trained } = await trainingLoop({
    ...{ ...run, trainable, random, penalty: true },
    training: { ...run.training, learningRate: run.training.learningRate * rate, warmupRatio: 0 },
    // So far from the end of the schedule the learning rate is constant.
    part: { steps: 1e12, until: snapshots * every },
    resume: () => null,
    onProgress: () => run.onAlive?.(),
    onStep: async (state) => {
      if (++steps % every === 0) found.push(state().weights);
    },
  });
  return [...found, trained];
}

/** The bank that a task finds: the stream's, or one that the method starts. */
function startBank({ bank, method, layers, options, seed }: Parameters<typeof beginTask>[0]): Bank {
  return bank ?? method.start(layers, options, new Random(seed).split('start'));
}

export interface BegunTask {
  readonly bank: Bank;
  readonly trainable: Trainable;
  /** Split, never drawn from. */
  readonly random: Random;
}

/** The bank that a task begins with, and what is trained from what start: a function of the seed, on any machine. */
export function beginTask(run: Pick<TrainTask, 'method' | 'options' | 'layers' | 'bank' | 'task' | 'seed'>): BegunTask {
  const { method, options, task } = run;
  const random = new Random(run.seed);
  const bank = startBank(run);
  return { bank, trainable: method.begin(bank, task, options, random.split(`begin ${task}`)), random };
}

export const trainsAnything = ({ tensors }: Trainable): boolean => [...tensors.values()].some(({ trained }) => trained);

/** Resumes from the checkpoint that is there, and stores a new one whenever it is due. */
export function checkpointing(run: TrainTask): Required<Pick<Loop, 'resume' | 'onStep'>> {
  const { seed, identity } = run;
  let saved = performance.now();
  return {
    resume: (steps) => (run.resume ? resumeState(run.resume, run, steps) : null),
    onStep: async (state, steps, last) => {
      if (!run.onCheckpoint || !(last || performance.now() - saved >= run.checkpointSeconds * 1000)) return;
      const optimizer = state();
      await run.onCheckpoint(writeCheckpoint({ optimizer, seed, steps, identity }), optimizer.step);
      saved = performance.now();
    },
  };
}

/** Reads the checkpoint of a run with this seed, identity and number of steps; of another one it is `BadConfig`. */
export function resumeState(
  bytes: Uint8Array,
  { seed, identity }: Pick<TrainTask, 'seed' | 'identity'>,
  steps: number,
): AdamWState {
  const checkpoint = readCheckpoint(bytes, identity);
  if (checkpoint.seed !== seed || checkpoint.steps !== steps || checkpoint.optimizer.step > steps) {
    const problem = `The checkpoint has seed ${checkpoint.seed} and ${checkpoint.steps} steps`;
    const next = `this run has seed ${seed} and ${steps} steps. Delete it to start the task anew`;
    throw new LiloraError('BadConfig', `${problem}, but ${next}.`);
  }
  return checkpoint.optimizer;
}

/** One learned task to fit again to shared factors that were changed. */
export type Refit = Pick<
  TrainTask,
  'model' | 'method' | 'task' | 'samples' | 'features' | 'training' | 'seed' | 'signal' | 'onProgress'
> & { readonly bank: Bank };

/**
 * Trains the own tensors of a learned task for a part of an epoch (`training.refitEpochs`), with the shared ones frozen
 * and no penalty. Gives a new bank; every other tensor in it is as before.
 */
export async function refit(run: Refit): Promise<Bank> {
  const { bank, task, training, method } = run;
  const own = (key: string) => `tasks/${task}/${key}`;
  const tensors = new Map<string, TrainableTensor>();
  for (const [key, start] of method.activate(bank, task)) {
    const trained = bank.tensors.has(own(key));
    tensors.set(key, { start, place: trained ? 'own' : 'shared', trained });
  }
  const earlierTasks = bank.tasks.slice(0, bank.tasks.indexOf(task));
  const trainable: Trainable = { task, tensors, constants: new Map(), earlierTasks };
  if (!trainsAnything(trainable)) return bank;
  const { trained } = await trainingLoop({
    ...run,
    options: { ...bank.options },
    layers: bank.layers,
    trainable,
    training: { ...training, epochs: Math.min(training.epochs, DEFAULTS['training.refitEpochs'].value) },
    random: new Random(run.seed).split(`refit ${task}`),
    penalty: false,
  });
  const result: TensorMap = new Map(bank.tensors);
  for (const [key, tensor] of trained) if (tensors.get(key)?.trained) result.set(own(key), tensor);
  return { ...bank, tensors: result };
}
