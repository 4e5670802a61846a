import * as tf from '@tensorflow/tfjs';

/** Where TensorFlow.js writes down operations for their way back, and what they put aside for it. */
interface TapeState {
  activeTape: Array<{ saved?: tf.Tensor[] }> | null;
}

const tapeState = () => (tf.engine() as unknown as { state: TapeState }).state;

/**
 * Gradients of a function while those of another one are under way: TensorFlow.js would forget the outer one's tape.
 * @returns one gradient per input
 */
export function gradientsWithin(
  compute: (...inputs: [tf.Tensor, ...tf.Tensor[]]) => tf.Tensor,
  inputs: readonly tf.Tensor[],
  dy: tf.Tensor,
): tf.Tensor[] {
  const state = tapeState();
  const outer = state.activeTape;
  try {
    return tf.grads(compute as (...inputs: tf.Tensor[]) => tf.Tensor)([...inputs], dy);
  } finally {
    state.activeTape = outer;
  }
}

/**
 * Frees what a gradient that failed half-way had put aside for its way back: TensorFlow.js keeps it for ever. To be called
 * when an error has left `tf.grad`.
 */
export function forgetFailedGradient(): void {
  const state = tapeState();
  for (const { saved } of state.activeTape ?? []) tf.dispose(saved ?? []);
  state.activeTape = null;
}
