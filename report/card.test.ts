import { describe, expect, it } from 'vitest';
import { markdown, modelCard } from './card.ts';
import { exampleView, NASTY, nastyView } from './example-view.ts';
import { generationReport } from './html.ts';

describe('the model card', () => {
  it('has the fields that hubs read', () => {
    const card = modelCard(exampleView());
    const head = card.split('---\n')[1]!;
    for (const line of [
      'library_name: peft',
      'base_model_relation: adapter',
      'pipeline_tag: image-text-to-text',
      'datasets:',
      'model-index:',
    ])
      expect(head).toContain(line);
    expect(head).toMatch(/value: 91\.5/);
  });

  it.each(NASTY)('keeps hostile text out of its head and its markup: %j', (text) => {
    const card = modelCard(nastyView(text));
    const lines = card.split('\n');
    const end = lines.indexOf('---', 1);
    for (const line of lines.slice(1, end))
      expect(line).toMatch(/^ *(?:- )?(?:[a-z_-]+: ?)?(?:"(?:[^"\\]|\\.)*"|[A-Za-z0-9_. -]*)$/);
    const rest = lines
      .slice(end + 1)
      .join('\n')
      .replace(/```[\s\S]*?```/g, '')
      .replace(/`[^`\n]*`/g, '');
    expect(rest).not.toMatch(/<[a-z/!]/i);
    expect(rest).not.toMatch(/[^\\]\]\(/);
    const columns = rest
      .split('\n')
      .filter((line) => line.startsWith('| '))
      .map((line) => line.replace(/\\\|/g, '').split('|').length);
    expect(new Set(columns.slice(0, 4)).size).toBe(1);
  });

  it('says where there are no adapters', () => {
    const view = exampleView();
    const bare = { ...view, tasks: view.tasks.map((task) => ({ ...task, adapter: null })) };
    for (const page of [modelCard(bare), generationReport(bare)]) {
      expect(page).toContain('No ordinary LoRA computes what this method does');
      expect(page).not.toMatch(/PeftModel|adapters\/<task>|unfolded|library_name|npx lilora pull/);
    }
  });

  it('says what a router does where there is one, and that nothing chooses where there is none', () => {
    const view = exampleView();
    expect(modelCard(view)).toContain('| caption | 91.5 | 89.3 | 96.5 | 7 | 0 | 193 |');
    expect(generationReport(view)).toMatch(/98\.5 % of the test prompts go to the right task/);
    const { routing: _, ...bare } = view;
    expect(modelCard(bare)).toContain('nothing chooses the adapter for you');
    for (const page of [modelCard(bare), generationReport(bare)]) expect(page).not.toContain('Without the task given');
  });

  it('says what a stream started from, and what of it was never evaluated', () => {
    const start = { sha256: 'f'.repeat(64), tasks: [exampleView().tasks[0]!.task, 'unknown'] };
    for (const page of [modelCard({ ...exampleView(), start }), generationReport({ ...exampleView(), start })])
      expect(page).toMatch(/started from a bank, SHA-256 f{64},.*, unknown.*not guarded by the gate: unknown\./);
    expect(modelCard(exampleView())).not.toContain('started from a bank');
  });

  it('escapes Markdown', () => {
    expect(markdown('a|b *c* <d> [e](f)\n# g')).toBe('a\\|b \\*c\\* &lt;d&gt; \\[e\\]\\(f\\) \\# g');
  });
});
