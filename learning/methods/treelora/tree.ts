/** One number vector per adapted layer, in the order of layers. */
export type Directions = readonly Float32Array[];

/** Tasks that are alike down to a depth: those of a node of depth ℓ are told apart by their features of layer ℓ. */
export interface Node {
  /** Places of tasks, in the order of learning. */
  readonly tasks: readonly number[];
  /** Its halves; empty where one task is left or no layer. */
  readonly children: readonly Node[];
}

const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, x, i) => sum + x * b[i]!, 0);

/** ‖a − b‖; in [0, 2] for unit vectors. */
const distance = (a: Float32Array, b: Float32Array) => Math.sqrt(a.reduce((sum, x, i) => sum + (x - b[i]!) ** 2, 0));

/** D_t = g_t − g_{t−1}, D_1 = g_1: what the authors' code builds the tree from. */
export function features(directions: readonly Directions[]): Directions[] {
  return directions.map((layers, t) =>
    layers.map((now, layer) => (t === 0 ? now : now.map((x, i) => x - directions[t - 1]![layer]![i]!))),
  );
}

/**
 * The tree of tasks: a node's tasks are ordered by the inner product of their feature with the node's mean feature of that
 * layer, and fall apart at the median (at or above it: left).
 */
export function treeOf(all: readonly Directions[], tasks = all.map((_, t) => t), depth = 0): Node {
  if (tasks.length < 2 || depth >= (all[0]?.length ?? 0)) return { tasks, children: [] };
  const own = tasks.map((t) => all[t]![depth]!);
  const mean = own[0]!.map((_, i) => own.reduce((sum, feature) => sum + feature[i]!, 0) / own.length);
  const similar = own.map((feature) => dot(feature, mean));
  const middle = median(similar);
  const [left, right] = [tasks.filter((_, i) => similar[i]! >= middle), tasks.filter((_, i) => similar[i]! < middle)];
  return {
    tasks,
    children: [left, right].filter(({ length }) => length > 0).map((half) => treeOf(all, half, depth + 1)),
  };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = sorted.length / 2;
  return sorted.length % 2 === 1 ? sorted[Math.floor(at)]! : (sorted[at - 1]! + sorted[at]!) / 2;
}

/** c(n) of the authors' code: how much a task that was looked at n times by round k of N may still be better than its mean. */
export const exploration = (rounds: number, round: number, times: number) =>
  Math.sqrt(Math.log(2 * rounds * (round + 1) * (round + 2))) / Math.sqrt(2 * times);

/**
 * For every layer the most similar earlier task. From the root down, one layer after another, a bandit looks in every round
 * at one task of the node: at each once, then at the one whose mean distance could be lowest (mean − c(n)). The task of
 * the lowest mean is the layer's, and the search goes on in the half that holds it.
 * @param seen of every round the new task's directions
 */
export function search(root: Node, known: readonly Directions[], seen: readonly Directions[]): number[] {
  const chosen: number[] = [];
  let node = root;
  for (let layer = 0; layer < (seen[0]?.length ?? 0); layer++) {
    const looks = new Map(node.tasks.map((task) => [task, { sum: 0, times: 0 }]));
    for (const [round, directions] of seen.entries()) {
      const bound = (task: number) => {
        const { sum, times } = looks.get(task)!;
        return times === 0 ? Number.NEGATIVE_INFINITY : sum / times - exploration(seen.length, round, times);
      };
      const task = lowest(node.tasks, bound);
      const look = looks.get(task)!;
      look.sum += distance(directions[layer]!, known[task]![layer]!);
      look.times++;
    }
    const best = lowest(node.tasks, (task) => {
      const { sum, times } = looks.get(task)!;
      return times === 0 ? Number.POSITIVE_INFINITY : sum / times;
    });
    chosen.push(best);
    node = node.children.find(({ tasks }) => tasks.includes(best)) ?? node;
  }
  return chosen;
}

/** Of equals the first. */
function lowest(tasks: readonly number[], value: (task: number) => number): number {
  return tasks.reduce((best, task) => (value(task) < value(best) ? task : best));
}
