import type { HostTensor, TensorMap } from '../../../core/host-tensor.ts';
import { inner } from '../../tensors/linalg.ts';
import { ownKey } from '../bank.ts';
import type { Bank, Probe } from '../method.ts';
import { ownOf, SENSITIVITY, sharedOf, sigmoid } from './factors.ts';
import { activeTensors } from './moments.ts';

/** Share of the mean that every row has: rows that seem to matter to nobody are held a little, too. */
const FLOOR = 0.01;

/**
 * A bank that knows how much the loss of `task` feels each output of each layer: the output factor of a Kronecker-factored
 * Fisher information, its diagonal alone (K-FAC, arXiv 1503.05671; for consolidation arXiv 1805.07810). Row o of ∂L/∂B0 is
 * α·s·g_o·(A x)ᵀ, so its mean square over samples, by α²‖A‖², is the square of g_o as the inputs come. With a mean of 1
 * over all rows of all layers: μ keeps its meaning. Tasks of an earlier start, that nobody measured, get 1 throughout.
 */
export async function withSensitivity(bank: Bank, task: string, samples: number, probe: Probe): Promise<Bank> {
  const found = await probe.gradients(activeTensors(bank, task), { squared: true, samples });
  const rows = new Map(bank.layers.map(({ name }) => [name, squaresOf(bank, task, name, found.get(`${name}/B0`)!)]));
  const all = [...rows.values()].flatMap((values) => [...values]);
  const mean = all.reduce((sum, value) => sum + value, 0) / all.length;
  const tensors: TensorMap = new Map(bank.tensors);
  const put = (owner: string, layer: string, values: Float32Array) =>
    tensors.set(ownKey(owner, layer, SENSITIVITY), { shape: [values.length, 1], data: values });
  for (const { name, out } of bank.layers) {
    // Where nothing is learned any more, all rows are alike.
    const relative = (value: number) => (mean > 0 ? FLOOR + (1 - FLOOR) * (value / mean) : 1);
    put(task, name, Float32Array.from(rows.get(name)!, relative));
    for (const other of bank.tasks)
      if (!tensors.has(ownKey(other, name, SENSITIVITY))) put(other, name, new Float32Array(out).fill(1));
  }
  return { ...bank, tensors };
}

function squaresOf(bank: Bank, task: string, layer: string, gradient: HostTensor): Float64Array {
  const { A } = sharedOf(bank, layer);
  const alpha = sigmoid(ownOf(bank, task, layer).a);
  const size = alpha * alpha * inner(A, A);
  const squares = new Float64Array(gradient.data.length / A.rows);
  for (const [i, square] of (gradient.data as Float32Array).entries())
    squares[Math.floor(i / A.rows)]! += square / size;
  return squares;
}
