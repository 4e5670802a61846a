import { describe, expect, it } from 'vitest';
import { elements } from '../test/page-elements.ts';
import { exampleView, NASTY, nastyView } from './example-view.ts';
import { fixed } from './generation-view.ts';
import { generationReport } from './html.ts';
import { escapeHtml } from './markup.ts';

describe('the HTML report', () => {
  it('is well formed and needs nothing from outside', () => {
    const page = generationReport(exampleView());
    const found = elements(page);
    expect(found.filter(({ name }) => ['script', 'link', 'iframe', 'object', 'form', 'base'].includes(name))).toEqual(
      [],
    );
    for (const { attributes } of found)
      for (const [name, value] of Object.entries(attributes)) {
        expect(name).not.toMatch(/^on/i);
        if (name === 'src' || name === 'href') expect(value).toMatch(/^data:image\//);
      }
    expect(page).not.toMatch(/url\(|@import/);
  });

  it.each(NASTY)('shows hostile text as text: %j', (text) => {
    const clean = elements(generationReport(nastyView('x'))).map(({ name }) => name);
    const page = generationReport(nastyView(text));
    expect(elements(page).map(({ name }) => name)).toEqual(clean);
    expect(page).toContain(escapeHtml(text));
    // biome-ignore lint/suspicious/noControlCharactersInRegex: none may be left
    expect(page).not.toMatch(/[\u0000\u001b\u202e]/);
  });

  it('shows every score, every metric with its meaning, the gate, the answers and the digests', () => {
    const view = exampleView();
    const text = generationReport(view).replace(/<[^>]*>/g, ' ');
    for (const row of [view.matrix.zeroShot, ...view.matrix.rows])
      for (const score of row) expect(text).toContain(fixed(score));
    for (const meaning of [
      'Backward transfer',
      'Forgetting',
      'Instruction following',
      'over-budget',
      'consolidated 0.5',
    ])
      expect(text).toContain(meaning);
    for (const { answer } of view.tasks[0]!.predictions) expect(text).toContain(answer);
    for (const { sha256 } of view.files) expect(text).toContain(sha256);
    // Four steps of 25.5 billed and 20 useful seconds.
    expect(text).toMatch(/stream so far\s+80\.0\s+102\.0\s+1\.27\s+34\.3 MiB\s+11\.4 MiB\s+0\.0492 EUR/);
  });

  it('lives with a first generation: no metrics, no engine, no curve, no predictions', () => {
    const view = exampleView();
    const [task] = view.tasks;
    const page = generationReport({
      ...view,
      parent: null,
      tasks: [{ ...task!, predictions: [] }],
      matrix: { tasks: [task!.task], zeroShot: [5], rows: [[60]] },
      metrics: { AP: 60, BWT: null },
      losses: [{ task: task!.task, points: [] }],
      parameters: null,
      engine: null,
      workflow: null,
    });
    elements(page);
    expect(page).toContain('–');
    expect(page).not.toMatch(/NaN|undefined|null/);
  });
});
