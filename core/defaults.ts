/** One default: its value, its unit, and the reason for it. */
export interface Default<T> {
  readonly value: T;
  readonly unit: string;
  readonly why: string;
}

function entry<T>(value: T, unit: string, why: string): Default<T> {
  return { value, unit, why };
}

/** Every default of the product, in one place. The README's table is checked against it. */
export const DEFAULTS = {
  // learning/methods
  'adapter.rank': entry(16, '', 'r; the paper uses 128 on a 7B model'),
  'adapter.alpha': entry(32, '', 'scale = alpha / rank = 2, as in the paper'),

  // learning/training
  'training.learningRate': entry(4e-3, '', 'learns every example task; the paper uses 2e-5 at 7B'),
  'training.batchSize': entry(16, 'samples', 'per optimizer step'),
  'training.epochs': entry(2, '', 'at one epoch the example tasks are not learned'),

  // learning/evaluation

  // datasets

  // store

  // workflows and workers
} as const;
