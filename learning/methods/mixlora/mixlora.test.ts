import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, it } from 'vitest';
import { computed, LLAVA_LAYERS, wave } from '../../../test/method-numbers.ts';
import { expectNear } from '../../../test/reference.ts';
import { promptRows } from '../../model/rows.ts';
import { startTensors } from '../../tensors/backend.ts';
import { Random } from '../../training/random.ts';
import type { Method } from '../method.ts';
import { methodNamed } from '../registry.ts';

const method: Method = methodNamed('mixlora');
const optionsOf = (more: object) => method.options.parse({ rank: 2, alpha: 8, experts: 4, ...more });
/** Two samples of three tokens, the second the negative of its wave; the first has a prompt of two tokens. */
const x = { shape: [6, 5], data: wave(6, 6, 5).data.map((value, i) => (i < 15 ? value : -value)) };
const rows = () => promptRows({ rows: 2, length: 3, prompt: tf.tensor2d([1, 1, 0, 1, 1, 1], [2, 3]) });
const pools = { pool_A: wave(1, 4, 5), pool_B: wave(2, 3, 4), router_A: wave(3, 4, 5), router_B: wave(4, 4, 5) };
const run = (more: object) =>
  computed(method, { options: optionsOf(more), tensors: { ...pools, router_AB: wave(5, 2, 4, 5) }, x, out: 3, rows });

beforeAll(async () => void (await startTensors('cpu')));

it('computes what test/reference/methods/mixlora.py does', () => {
  const conditional = [
    2.773315015, -0.824939096, -1.218762924, -3.753638403, 3.714426254, -3.245992395, 4.256924553, -6.131859513,
    7.298225494, 0.669930371, 2.358230167, -5.113884667, -3.380809797, -0.995845337, 5.257425246, 5.662033514,
    -0.493098116, -4.732817392,
  ];
  expectNear(run({}).y, conditional, 2e-5, 'conditional, weighted');
  const plain = [
    2.849612363, -1.428916045, -0.156899122, -4.952750579, 5.121623503, -4.698665591, 6.426460437, -8.163441113,
    8.95709275, 5.522988287, -2.401226826, -0.998009167, -5.484064642, 1.023161006, 3.555974327, 4.748189729,
    0.484934893, -5.66202271,
  ];
  expectNear(run({ conditional: false, weightByScore: false }).y, plain, 2e-5, 'plain');
});

it('lets its routers learn only where factors count by their scores', () => {
  const gradients = (weightByScore: boolean) => {
    const options = optionsOf({ weightByScore });
    const penalty: Method['penalty'] = (active, given) => {
      const input = tf.tensor2d(x.data, [6, 5]);
      const layer = active.layers[0]!;
      const samples = rows();
      const route = method.route!(layer, input, active, given, samples)!;
      return tf.sum(tf.square(method.apply(layer, input, tf.zeros([6, 3]), active, given, { route, rows: samples })));
    };
    const tensors = { ...pools, router_AB: wave(5, 2, 4, 5) };
    const { gradient } = computed({ ...method, penalty }, { options, tensors, x, out: 3, rows });
    return ['router_A', 'router_B', 'router_AB', 'pool_A'].map((name) => gradient(name).some((g) => g !== 0));
  };
  expect(gradients(true)).toEqual([true, true, true, true]);
  expect(gradients(false)).toEqual([false, false, false, true]);
  const options = optionsOf({ weightByScore: false });
  const { tensors } = method.begin(
    method.start([{ name: 'l', in: 5, out: 3 }], options, new Random(1)),
    'a',
    options,
    new Random(1),
  );
  expect([...tensors].flatMap(([key, { trained }]) => (trained ? [key] : []))).toEqual(['l/pool_A', 'l/pool_B']);
});

it('keeps two pools and three routers', () => {
  const count = (more: object) =>
    method.describe(LLAVA_LAYERS, optionsOf({ rank: 4, experts: 128, ...more })).parameters;
  const routers = (2 * 128 + 128 * 4) * 619_520;
  expect(count({})).toEqual({ shared: 187_301_888 + routers, perTask: 0 });
  expect(count({ conditional: false }).shared).toBe(187_301_888 + 2 * 128 * 619_520);
});

it('refuses to choose more than there is', () => {
  expect(() => optionsOf({ rank: 5 })).toThrow('is above the number of experts');
});
