import { describe, expect, it } from 'vitest';
import { methodNamed } from '../../learning/methods/registry.ts';
import { NAME_PATTERN } from '../../workflows/contract.ts';
import { RUNS } from './runs.ts';
import { SWEEPS } from './sweeps.ts';

const sets = { compared: RUNS, ...SWEEPS };

describe.each(Object.entries(sets))('%s', (_, runs) => {
  it.each(Object.entries(runs))(
    '%s is a run that its method takes, under a name that a stream may have',
    (name, run) => {
      expect(() => methodNamed(run.method).options.parse(run.options)).not.toThrow();
      expect(`${name}-0-reversed-single`.replaceAll('.', '-')).toMatch(NAME_PATTERN);
    },
  );

  it('has no run twice', () => {
    const all = Object.values(runs).map(({ method, options, training = {}, gated = false }) =>
      JSON.stringify([method, methodNamed(method).options.parse(options), training, gated]),
    );
    expect(new Set(all).size).toBe(all.length);
  });
});
