import type { Binding, OpAttribute, TensorMetadata } from './record.ts';

/** Results of up to so many numbers are kept: among them are the places and sizes that shapes of later results hang on. */
const SMALL = 1024;

/**
 * Executes operations for the shapes of their results alone, so that a recording needs neither the memory nor most of the
 * time of what it records. Matrix products are not computed. Other operations are, and a large result is let go at once:
 * where a later operation reads it, zeros stand in. So only shapes, and small tensors of which nothing large is a part,
 * are to be relied on.
 */
export class DryRun {
  private readonly binding: Binding;
  /** What was let go, by its number: a negative one, which no tensor of the addon has. */
  private readonly absent = new Map<number, TensorMetadata>();
  /** As many zeros as the largest stand-in has numbers, by type. */
  private readonly zeros = new Map<number, { readonly id: number; readonly size: number }>();

  constructor(binding: Binding) {
    this.binding = binding;
  }

  /** As `executeOp`. @param shapes of the inputs */
  execute(
    name: string,
    attributes: readonly OpAttribute[],
    inputs: readonly number[],
    outputs: number,
    shapes: ReadonlyArray<readonly number[]>,
  ): TensorMetadata[] {
    // One that does not fit is executed too, for TensorFlow's own words.
    const shape = name === 'BatchMatMulV2' ? productShape(attributes, shapes[0]!, shapes[1]!) : null;
    if (shape) return [this.letGo({ id: 0, shape, dtype: attribute(attributes, 'T') as number })];
    const standIns: number[] = [];
    const present = inputs.map((id) => {
      const tensor = this.absent.get(id);
      if (!tensor) return id;
      const standIn = this.standIn(tensor);
      standIns.push(standIn);
      return standIn;
    });
    try {
      const results = this.binding.executeOp(name, [...attributes], present, outputs);
      return results.map((result) => {
        if (count(result.shape) <= SMALL) return result;
        this.binding.deleteTensor(result.id);
        return this.letGo(result);
      });
    } finally {
      for (const id of standIns) this.binding.deleteTensor(id);
    }
  }

  /** As `deleteTensor`. */
  delete(id: number): void {
    if (id >= 0) this.binding.deleteTensor(id);
  }

  dispose(): void {
    for (const { id } of this.zeros.values()) this.binding.deleteTensor(id);
    this.zeros.clear();
  }

  private letGo(tensor: TensorMetadata): TensorMetadata {
    const id = -1 - this.absent.size;
    const absent = { ...tensor, id };
    this.absent.set(id, absent);
    return absent;
  }

  /** Zeros of a shape: a part of the ones at hand under another shape, for which TensorFlow copies nothing. */
  private standIn({ shape, dtype }: TensorMetadata): number {
    const { TF_ATTR_TYPE: type, TF_INT32 } = this.binding;
    const size = count(shape);
    return this.with([[0], [size], shape], ([begin, sizes, wanted]) => {
      const part = this.op(
        'Slice',
        [
          ['T', type, dtype],
          ['Index', type, TF_INT32],
        ],
        [this.zerosOf(dtype, size), begin!, sizes!],
      );
      const shaped = this.op(
        'Reshape',
        [
          ['T', type, dtype],
          ['Tshape', type, TF_INT32],
        ],
        [part, wanted!],
      );
      this.binding.deleteTensor(part);
      return shaped;
    });
  }

  private zerosOf(dtype: number, size: number): number {
    const held = this.zeros.get(dtype);
    if (held && held.size >= size) return held.id;
    if (held) this.binding.deleteTensor(held.id);
    this.zeros.delete(dtype);
    const { TF_ATTR_TYPE: type, TF_ATTR_BOOL, TF_INT32 } = this.binding;
    const id = this.with([[size]], ([dims]) =>
      this.with([[0]], ([zero]) => {
        const cast = this.op(
          'Cast',
          [
            ['SrcT', type, TF_INT32],
            ['DstT', type, dtype],
            ['Truncate', TF_ATTR_BOOL, false],
          ],
          [zero!],
        );
        const filled = this.op(
          'BroadcastTo',
          [
            ['T', type, dtype],
            ['Tidx', type, TF_INT32],
          ],
          [cast, dims!],
        );
        this.binding.deleteTensor(cast);
        return filled;
      }),
    );
    this.zeros.set(dtype, { id, size });
    return id;
  }

  private op(name: string, attributes: ReadonlyArray<readonly [string, number, unknown]>, inputs: number[]): number {
    const given = attributes.map(([name, type, value]) => ({ name, type, value }));
    return this.binding.executeOp(name, given, inputs, 1)[0]!.id;
  }

  /** Runs with lists of integers as tensors, which are gone afterwards. */
  private with(lists: ReadonlyArray<readonly number[]>, run: (ids: number[]) => number): number {
    const { binding } = this;
    const ids = lists.map((list) => binding.createTensor([list.length], binding.TF_INT32, Int32Array.from(list)));
    try {
      return run(ids);
    } finally {
      for (const id of ids) binding.deleteTensor(id);
    }
  }
}

const count = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

const attribute = (attributes: readonly OpAttribute[], name: string) =>
  attributes.find((attribute) => attribute.name === name)?.value;

/** Shape of the product of stacks of matrices, axes before the last two broadcast; null where they do not fit. */
function productShape(attributes: readonly OpAttribute[], x: readonly number[], y: readonly number[]): number[] | null {
  const sides = (shape: readonly number[], turned: unknown) => (turned ? shape.slice(-2).reverse() : shape.slice(-2));
  const [rows, inner] = sides(x, attribute(attributes, 'adj_x'));
  const [innerY, columns] = sides(y, attribute(attributes, 'adj_y'));
  const axes = Math.max(x.length, y.length) - 2;
  const stack = Array.from({ length: axes }, (_, i) => [
    x[x.length - 2 - axes + i] ?? 1,
    y[y.length - 2 - axes + i] ?? 1,
  ]);
  if (inner !== innerY || stack.some(([a, b]) => a !== b && a !== 1 && b !== 1)) return null;
  return [...stack.map(([a, b]) => Math.max(a!, b!)), rows!, columns!];
}
