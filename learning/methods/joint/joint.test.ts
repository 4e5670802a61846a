import { expect, test } from 'vitest';
import { Random } from '../../training/random.ts';
import { joint } from './index.ts';

const layers = [{ name: 'layer', in: 6, out: 5 }];
const options = { rank: 2, alpha: 4 };

test('every task starts anew, at the base model, whatever was learned before', () => {
  const empty = joint.start(layers, options, new Random(1));
  const begun = joint.begin(empty, 'one', options, new Random(2));
  const learned = new Map(
    [...begun.tensors].map(([key, { start }]) => [key, { ...start, data: start.data.map(() => 7) }]),
  );
  const bank = joint.finish(empty, begun, learned);
  expect(bank.tensors.get('shared/layer/lora_B')!.data).toContain(7);

  const again = joint.begin(bank, 'two', options, new Random(3));
  expect(again.tensors.get('layer/lora_B')!.start.data.every((x) => x === 0)).toBe(true);
  expect(again.tensors).toEqual(joint.begin(empty, 'two', options, new Random(3)).tensors);
  expect(again.tensors).not.toEqual(begun.tensors);
  expect(again.earlierTasks).toEqual(['one']);
});
