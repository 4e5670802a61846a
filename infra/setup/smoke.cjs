/** Loads the native addon, computes one forward and one backward pass, and prints what it runs on as JSON. */
require('./node-compat.cjs');
const tf = require('@tensorflow/tfjs-node-gpu');

const a = tf.tensor2d([
  [1, 2],
  [3, 4],
]);
expectValues(tf.matMul(a, a), [7, 10, 15, 22], 'matMul');
expectValues(tf.grad((x) => tf.square(x).sum())(a), [2, 4, 6, 8], 'gradient of the sum of squares');
// These two go through the functions that node-compat.cjs brings back.
expectValues(tf.topk(tf.tensor1d([3, 1, 2]), 2).values, [3, 2], 'topk');
expectValues(tf.concat([tf.tensor1d([1]), tf.tensor1d([2])]), [1, 2], 'concat');
if (tf.getBackend() !== 'tensorflow') throw new Error(`back end ${tf.getBackend()} instead of tensorflow`);
console.log(JSON.stringify({ version: tf.backend().binding.TF_Version, gpu: tf.backend().isUsingGpuDevice }));

function expectValues(tensor, values, what) {
  const got = Array.from(tensor.dataSync());
  if (got.join() !== values.join()) throw new Error(`${what}: ${got.join()} instead of ${values.join()}`);
}
