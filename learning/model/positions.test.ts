import { expect, test } from 'vitest';
import { reference } from '../../test/reference.ts';
import { plainPositions, spatialPositions } from './positions.ts';

const ref = reference('qwen2vl');
/** The image token of its `config.json`. */
const image = 356;
const cases = Object.keys(ref.json.cases).filter((at) => at !== 'text');

test.each(cases)('%s: positions in time, height and width as transformers has them, and what follows', (at) => {
  const batch = ref.batch(at);
  const { axes, next } = spatialPositions(batch, image);
  const expected = ref.expected.get(`${at}/position_ids`)!.data as Int32Array;
  expect([...axes[0]!, ...axes[1]!, ...axes[2]!]).toEqual([...expected]);
  const real = Array.from({ length: batch.rows }, (_, row) =>
    batch.attentionMask.subarray(row * batch.length, (row + 1) * batch.length).reduce((sum, one) => sum + one, 0),
  );
  expect(next.map((position, row) => position - real[row]!)).toEqual(ref.json.cases[at].rope_deltas.flat());
});

test('text alone stands on all axes where it would stand on one', () => {
  const batch = ref.batch('text');
  const spatial = spatialPositions(batch, image);
  const plain = plainPositions(batch);
  expect(spatial.axes.map((axis) => [...axis])).toEqual([0, 1, 2].map(() => [...plain.axes[0]!]));
  expect(spatial.next).toEqual(plain.next);
});

test('grids that do not fit the image tokens are refused', () => {
  const batch = ref.batch('one');
  const [height, width] = batch.grids![0]!;
  const refuse = (grids: [number, number][]) => () => spatialPositions({ ...batch, grids }, image);
  expect(refuse([])).toThrow(/image 1 of the batch has a grid of 0 × 0/);
  expect(refuse([[height, width + 1]])).toThrow(/not as many image tokens/);
  expect(refuse([[height, width - 1]])).toThrow(/image 2 of the batch/);
  expect(
    refuse([
      [height, width],
      [2, 2],
    ]),
  ).toThrow(/2 image grids for 1 images/);
});
