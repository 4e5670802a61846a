import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { buildProgram } from '../cli/main.ts';
import { methodFacts, STEPS } from '../cli/verbs/methods.ts';
import { DEFAULTS } from '../core/defaults.ts';
import { scorerNames } from '../learning/evaluation/scorers.ts';
import { methodNamed, methodNames } from '../learning/methods/registry.ts';
import { ROOT } from '../workers/runtime.ts';
import * as contract from '../workflows/contract.ts';

const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const PAGES = [
  'README.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  'docs/using.md',
  'docs/datasets.md',
  'docs/house.md',
  'docs/triggers.md',
  'docs/defaults.md',
  'docs/benchmarks.md',
  'docs/adding-a-method.md',
  'docs/methods.md',
  'docs/models.md',
  'docs/scale.md',
  'docs/cost.md',
  'infra/README.md',
  'infra/containers/README.md',
  'infra/helm/lilora/README.md',
  'infra/lambda/README.md',
  'infra/launchers/README.md',
  'infra/terraform/README.md',
  'docs/schedules.md',
];

describe('the docs', () => {
  it('hold the table of defaults (npx vitest run test/docs.test.ts -u writes it anew)', async () => {
    const rows = Object.entries(DEFAULTS).map(
      ([name, { value, unit, why }]) => `| \`${name}\` | ${JSON.stringify(value)} | ${unit} | ${why} |`,
    );
    const page = [
      '# Defaults',
      '',
      'Every default value of the product, from `core/defaults.ts`. A test keeps this page equal to it.',
      '',
      '| name | value | unit | why |',
      '| --- | --- | --- | --- |',
      ...rows,
      '',
    ].join('\n');
    await expect(page).toMatchFileSnapshot(join(ROOT, 'docs/defaults.md'));
  });

  it('hold a row for every method (npx vitest run test/docs.test.ts -u writes them anew)', async () => {
    const facts = methodNames().map((name) => methodFacts(methodNamed(name)));
    const paper = (name: string | null) =>
      name?.startsWith('arXiv:') ? `[${name.slice(6)}](https://arxiv.org/abs/${name.slice(6)})` : (name ?? '–');
    const codes = (names: readonly string[]) => names.map((name) => `\`${name}\``).join(' ') || '–';
    const parts = {
      steps: ['| step | |', '| --- | --- |', ...Object.entries(STEPS).map(([step, is]) => `| \`${step}\` | ${is} |`)],
      methods: [
        '| method | paper | task id | shared | per task | steps |',
        '| --- | --- | --- | --- | --- | --- |',
        ...facts.map(({ name, title, needsTask, shared, perTask, steps, ...of }) => {
          const card = `[${title}](../learning/methods/${name}/README.md)`;
          const cells = [paper(of.paper), needsTask ? 'yes' : 'no', codes(shared), codes(perTask), codes(steps)];
          return `| \`${name}\` ${card} | ${cells.join(' | ')} |`;
        }),
      ],
    };
    let page = read('docs/methods.md');
    for (const [part, lines] of Object.entries(parts)) {
      const [before, rest] = page.split(`<!-- ${part} -->\n`);
      const [, after] = rest!.split(`<!-- /${part} -->`);
      page = `${before}<!-- ${part} -->\n${lines.join('\n')}\n<!-- /${part} -->${after}`;
    }
    await expect(page).toMatchFileSnapshot(join(ROOT, 'docs/methods.md'));
    for (const { name } of facts) {
      const card = read(`learning/methods/${name}/README.md`);
      for (const { name: option } of methodFacts(methodNamed(name)).options)
        expect(card, `the card of ${name}`).toContain(`\`${option}\``);
    }
  });

  it('quote defaults as they are', () => {
    for (const page of PAGES)
      for (const [, name, value] of read(page).matchAll(/^\| `([a-z]+\.[A-Za-z]+)` \| ([^|]+?) \|/gm)) {
        const entry = DEFAULTS[name as keyof typeof DEFAULTS];
        expect(entry, `${page}: ${name}`).toBeDefined();
        expect(value, `${page}: ${name}`).toBe(JSON.stringify(entry.value));
      }
  });

  it('link to files that are there', () => {
    for (const page of PAGES)
      for (const [, target] of read(page).matchAll(/\]\(([^)#]+?)(?:#[^)]*)?\)/g)) {
        if (/^[a-z]+:/.test(target!)) continue;
        expect(existsSync(join(ROOT, dirname(page), target!)), `${page} → ${target}`).toBe(true);
      }
  });

  it('name only verbs and options that the command has', async () => {
    const program = await buildProgram();
    for (const page of PAGES)
      for (const [line, rest] of read(page).matchAll(/^(?:\$ )?(?:npx )?lilora ([a-z].*)$/gm)) {
        const words = rest!.replace(/\s+#.*$/, '').split(/\s+/);
        const command = program.commands.find((c) => c.name() === words[0]);
        expect(command, `${page}: ${line}`).toBeDefined();
        const options = [command!, ...command!.commands].flatMap((c) => c.options.map((option) => option.long));
        for (const word of words.filter((w) => w.startsWith('--')))
          expect([...options, '--help'], `${page}: ${line}`).toContain(word.split('=')[0]);
      }
  });

  it('name every metric', () => {
    for (const name of scorerNames()) expect(read('docs/using.md')).toContain(`| \`${name}\` |`);
  });

  it('name every update, signal and query of the contract', () => {
    const text = read('docs/using.md');
    for (const name of [contract.UPDATES, contract.QUERIES].flatMap((names) => Object.values(names)))
      expect(text).toContain(name);
    for (const name of ['pause', 'resume']) expect(text).toContain(`--name ${name}`);
    for (const name of Object.keys(contract.SEARCH_ATTRIBUTES)) expect(text).toContain(name);
  });
});
