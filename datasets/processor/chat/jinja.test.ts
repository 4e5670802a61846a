import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseTemplate } from './jinja.ts';

/** What transformers rendered (test/fixtures/make-templates.py); null where Jinja refuses. */
const fixture = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../../test/fixtures/templates/rendered.json'), 'utf8'),
) as {
  variables: Record<string, string>;
  templates: Record<string, string>;
  conversations: Record<string, { messages: Array<Record<string, unknown>>; tools?: object[] }>;
  cases: Array<{ template: string; conversation: string; next: boolean; text: string | null }>;
  expressions: Array<{ source: string; text: string | null }>;
};

function rendered(source: string, variables: object): string | null {
  try {
    return parseTemplate(source)({ ...fixture.variables, tools: null, documents: null, ...variables });
  } catch {
    return null;
  }
}

describe('a template', () => {
  it.each(fixture.cases)('$template writes "$conversation" as transformers does (next: $next)', (one) => {
    const { messages, tools = null } = fixture.conversations[one.conversation]!;
    const given = messages.map((message) =>
      message['reasoning_content'] ? { ...message, thinking: message['reasoning_content'] } : message,
    );
    const variables = { messages: given, tools, add_generation_prompt: one.next };
    expect(rendered(fixture.templates[one.template]!, variables)).toBe(one.text);
  });

  it.each(fixture.expressions)('has $source as Jinja has it', ({ source, text }) => {
    expect(rendered(source, { messages: [], add_generation_prompt: false })).toBe(text);
  });

  it('ends, whatever it says', () => {
    const endless = '{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}';
    expect(() => parseTemplate(endless)({})).toThrow('steps for one conversation');
    const huge =
      "{% set n = namespace(a='aaaaaaaa') %}{% for i in range(60) %}{% set n.a = n.a ~ n.a %}{% endfor %}{{ n.a }}";
    expect(() => parseTemplate(huge)({})).toThrow();
  });

  it('knows today', () => {
    expect(parseTemplate("{{ strftime_now('%Y') }}")({})).toBe(`${new Date().getFullYear()}`);
  });
});
