import { expect, it } from 'vitest';
import { changedBudget, checkLimits } from './budget.ts';

const free = { name: 'pets', gpuQueue: 'l4' };
const priced = { ...free, prices: { currency: 'EUR', workers: { l4: { perSecond: 1 } } } };

it('a change names limits only', () => {
  checkLimits({ taskGpuSeconds: 0, streamMoney: null });
  for (const wrong of [
    {},
    null,
    { taskGpuSeconds: -1 },
    { taskGpuSeconds: '5' },
    { hours: 1 },
    { taskMoney: Infinity },
  ])
    expect(() => checkLimits(wrong as never)).toThrow(/raiseBudget needs numbers/);
});

it('what is left out stays, null takes a limit away, money needs a price', () => {
  const budget = { taskGpuSeconds: 10, streamGpuSeconds: 20 };
  expect(changedBudget(budget, { taskGpuSeconds: null }, free)).toEqual({ streamGpuSeconds: 20 });
  expect(changedBudget(budget, { taskGpuSeconds: 5, taskMoney: 1 }, priced)).toEqual({
    ...budget,
    taskGpuSeconds: 5,
    taskMoney: 1,
  });
  expect(() => changedBudget(budget, { taskMoney: 1 }, free)).toThrow(/no price for l4/);
  expect(changedBudget({ taskMoney: 1 }, { taskMoney: null }, free)).toEqual({});
});
