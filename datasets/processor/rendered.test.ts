import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { LITERAL_IMAGE, type Sample, type Turn } from '../../core/sample.ts';
import { Untrainable } from '../problems.ts';
import { openProcessor } from './processor.ts';
import { openTokenizer } from './tokenizer.ts';

/* What is written is what is learned: turns, reasoning, tools, images and special tokens on their way through a template. */

const FIXTURES = join(import.meta.dirname, '../../test/fixtures');
const root = mkdtempSync(join(tmpdir(), 'lilora-rendered-'));
afterAll(() => rmSync(root, { recursive: true }));

let count = 0;
/** A fixture's model with one chat template of its own. */
function modelWith(name: string, template?: string): string {
  const folder = join(root, `${count++}`);
  cpSync(join(FIXTURES, name, 'model'), folder, { recursive: true });
  if (template === undefined) return folder;
  rmSync(join(folder, 'chat_template.json'), { force: true });
  writeFileSync(join(folder, 'chat_template.jinja'), template);
  return folder;
}
const { templates } = JSON.parse(readFileSync(join(FIXTURES, 'templates/rendered.json'), 'utf8')) as {
  templates: Record<'thinking' | 'headers' | 'inst', string>;
};
const none = new Map();
const sample = (turns: readonly Turn[], rest: Partial<Sample> = {}): Sample => ({
  id: 'x7',
  turns,
  images: [],
  references: [turns.findLast(({ role }) => role === 'assistant')?.text ?? ''],
  ...rest,
});
const user = (text: string): Turn => ({ role: 'user', text });
const answer = (text: string, rest: Partial<Turn> = {}): Turn => ({ role: 'assistant', text, ...rest });
async function learned(folder: string, given: Sample) {
  const [processor, tokens] = [await openProcessor(folder), await openTokenizer(folder)];
  const { inputIds, labels } = processor.encodeTraining(given, new Map([['a', { width: 30, height: 30 }]]));
  const squeeze = (ids: number[]) => tokens.decodeAll(ids).replaceAll(/\s+/g, ' ').trim();
  return { all: squeeze([...inputIds]), loss: squeeze([...inputIds].filter((_, i) => labels![i] !== -100)) };
}
const FOR = '{% for m in messages %}';
const NEXT = '{% endfor %}{% if add_generation_prompt %} ASSISTANT:{% endif %}';

describe('a turn that the template drops', () => {
  // github.com/sgl-project/sglang/issues/40082: an unknown role disappears without an error.
  const noSystem = `${FOR}{% if m.role != 'system' %} {{ m.role | upper }}: {{ m.content[0].text }}{% endif %}${NEXT}`;
  const pirate = [{ role: 'system' as const, text: 'Answer like a pirate.' }, user('Name a fruit.'), answer('Arr.')];

  it('is refused with the sample, the turn and a remedy', async () => {
    const processor = await openProcessor(modelWith('llava-mha', noSystem));
    const message =
      /^Sample x7: turn 1 \(system\) does not appear as it is in what the model's chat template writes\. Put its text before/;
    expect(() => processor.encodeTraining(sample(pirate), none)).toThrow(message);
    expect(() => processor.encodePrompt(sample(pirate), none)).toThrow(message);
    expect(processor.encodeTraining(sample(pirate.slice(1)), none).inputIds.length).toBeGreaterThan(5);
  });

  it('is noticed, too, where its text stands elsewhere by chance', async () => {
    const processor = await openProcessor(modelWith('llava-mha', noSystem));
    const turns = [{ role: 'system' as const, text: 'a' }, user('Name a fruit.'), answer('Arr.')];
    expect(() => processor.encodeTraining(sample(turns), none)).toThrow('turn 1 (system) does not appear');
  });

  it('is named by its sample where the template itself refuses', async () => {
    const raises = `${FOR}{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %} {{ m.content[0].text }}${NEXT}`;
    const processor = await openProcessor(modelWith('llava-mha', raises));
    expect(() => processor.encodeTraining(sample(pirate), none)).toThrow(
      'The chat template (chat_template.jinja) refuses sample x7: System role not supported',
    );
  });
});

it('of a template without end ends, too', async () => {
  const endless = '{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}x';
  await expect(openProcessor(modelWith('llava-mha', endless))).rejects.toThrow(
    'chat_template.jinja: the chat template cannot be used: it takes over',
  );
});

describe('contents as one text', () => {
  // github.com/vllm-project/vllm/issues/16245: such templates fail on parts, or write them as a list.
  const forms = {
    plus: `${FOR}{{ ' ' + m['role'] | upper + ': ' + m['content'] }}${NEXT}`,
    print: `${FOR} {{ m['role'] | upper }}: {{ m['content'] }}${NEXT}`,
    trim: `${FOR} {{ m['role'] | upper }}: {{ m['content'] | trim }}${NEXT}`,
  };
  it.each(Object.entries(forms))('are given to a template that takes them so (%s)', async (_, template) => {
    const { all } = await learned(modelWith('llava-mha', template), sample([user('Hello you'), answer('good')]));
    expect(all).toContain('USER: Hello you ASSISTANT: good');
    expect(all).not.toContain('type');
  });

  it('have the family’s own mark where an image stands', async () => {
    const given = sample([user('Look <image> and say'), answer('good')], { images: ['a'] });
    expect((await learned(modelWith('llava-mha', forms.print), given)).all).toMatch(/USER: Look (<image> ?)+and say/);
    const qwen = `${FOR}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}`;
    expect((await learned(modelWith('qwen2vl', qwen), given)).all).toMatch(
      /Look <\|vision_start\|>(<\|image_pad\|>)+<\|vision_end\|> and say/,
    );
  });

  it('may be one role’s alone', async () => {
    const mixed = `${FOR}{% if m.role == 'user' %} USER: {% for c in m.content %}{{ c.text }}{% endfor %}{% else %} {{ m.role | upper }}: {{ m.content }}{% endif %}${NEXT}`;
    const turns = [{ role: 'system' as const, text: 'Be brief' }, user('Hello'), answer('good')];
    expect((await learned(modelWith('llava-mha', mixed), sample(turns))).all).toContain(
      'SYSTEM: Be brief USER: Hello ASSISTANT: good',
    );
  });
});

describe('reasoning, tools and turns without loss', () => {
  const thinking = () => modelWith('qwen2vl', templates.thinking);
  const tool = { type: 'function', function: { name: 'look', parameters: {} } };
  const call = answer('', { toolCalls: [{ name: 'look', arguments: { where: 'left "side"' } }] });

  it('are learned as the template writes them', async () => {
    const { loss } = await learned(thinking(), sample([user('1+1?'), answer('2', { reasoning: 'one and one' })]));
    expect(loss).toBe('<think> one and one </think> 2<|im_end|>');
    const turns = [user('Look'), call, { role: 'tool' as const, text: 'a cat' }, answer('A cat.')];
    const tooled = await learned(thinking(), sample(turns, { tools: [tool] }));
    expect(tooled.all).toContain('Tools: {"type": "function", "function": {"name": "look", "parameters": {}}}');
    expect(tooled.loss).toContain('{"name": "look", "arguments": {"where": "left \\"side\\""}}');
    expect(tooled.loss).toContain('A cat.');
    expect(tooled.loss).not.toContain('a cat');
  });

  it('are refused where the template drops them', async () => {
    const processor = await openProcessor(thinking());
    const turns = [user('1+1?'), answer('2', { reasoning: 'one and one' }), user('2+2?'), answer('4')];
    expect(() => processor.encodeTraining(sample(turns), none)).toThrow(
      /the reasoning of turn 2 does not appear .* Say "reasoning": "leave-out" in dataset\.json, end the conversation/,
    );
    // Served, earlier reasoning is dropped as well.
    expect(processor.encodePrompt(sample(turns), none).inputIds.length).toBeGreaterThan(5);
    const plain = await openProcessor(modelWith('qwen2vl'));
    const thought = sample([user('1+1?'), answer('2', { reasoning: 'one and one' })]);
    expect(() => plain.encodeTraining(thought, none)).toThrow('the reasoning of turn 2 does not appear');
    expect(() => plain.encodeTraining(sample([user('Look'), call]), none)).toThrow('the tool call look of turn 2');
    expect(() => plain.encodeTraining(sample([user('Hi'), answer('Hello')], { tools: [tool] }), none)).toThrow(
      'the tool look does not appear',
    );
  });

  it('carry no loss where the turn says so', async () => {
    const turns = [user('one?'), answer('first', { loss: false }), user('two?'), answer('second')];
    const { all, loss } = await learned(modelWith('qwen2vl'), sample(turns));
    expect(all).toContain('first');
    expect(loss).toBe('second<|im_end|>');
    const processor = await openProcessor(modelWith('qwen2vl'));
    expect(() => processor.encodeTraining(sample(turns.slice(0, 2)), none)).toThrow(Untrainable);
  });
});

describe('special tokens', () => {
  const box = 'It is <|box_start|>(1,2)<|box_end|>';

  it('of the model are learned where the dataset says so, and read back', async () => {
    const folder = modelWith('qwen2vl');
    const processor = await openProcessor(folder);
    const turns = [user('Where?'), answer(box)];
    expect(() => processor.encodeTraining(sample(turns), none)).toThrow(
      'its text holds the special token <|box_start|>. Remove or rewrite it, or say "specialTokens": true',
    );
    const { inputIds, labels } = processor.encodeTraining(sample(turns, { specialTokens: true }), none);
    const ids = [...inputIds].filter((_, i) => labels![i] !== -100);
    expect(ids).toContain((await openTokenizer(folder)).idOf('<|box_start|>'));
    expect(processor.decode(ids, true).trim()).toBe(box);
    expect(processor.decode(ids).trim()).toBe('It is (1,2)');
  });

  it.each(['<|im_end|>', '<|im_start|>', '<|image_pad|>', '<|vision_end|>', '<|endoftext|>', '<|video_pad|>'])(
    '%s stays refused: it is structure',
    async (token) => {
      const processor = await openProcessor(modelWith('qwen2vl'));
      const turns = [user('Where?'), answer(`It is ${token}`)];
      expect(() => processor.encodeTraining(sample(turns, { specialTokens: true }), none)).toThrow(
        'it would change the structure of the conversation',
      );
    },
  );

  it('are not made of the word <image>, where it marks none', async () => {
    for (const name of ['llava-mha', 'smolvlm', 'qwen2vl']) {
      const folder = modelWith(name);
      const [processor, tokens] = [await openProcessor(folder), await openTokenizer(folder)];
      const turns = [user(`<image>\nWrite ${LITERAL_IMAGE} tag`), answer(`An ${LITERAL_IMAGE} tag`)];
      const given = sample(turns, { images: ['a'] });
      const sizes = new Map([['a', { width: 30, height: 30 }]]);
      const encoded = processor.encodeTraining(given, sizes);
      const marks = (ids: Int32Array) => [...ids].filter((id) => tokens.textOf(id) === '<image>').length;
      const without = processor.encodeTraining(
        { ...given, turns: turns.map((turn) => ({ ...turn, text: turn.text.replace(LITERAL_IMAGE, 'x') })) },
        sizes,
      );
      expect(marks(encoded.inputIds), name).toBe(marks(without.inputIds));
      const answerIds = [...encoded.inputIds].filter((_, i) => encoded.labels![i] !== -100);
      expect(processor.decode(answerIds).trim(), name).toBe('An <image> tag');
      expect(processor.encodePrompt(given, sizes).references).toEqual(['An <image> tag']);
    }
  });
});

describe('the template of a folder', () => {
  const say = (name: string) => `${name}${FOR} {{ m.role | upper }}: {{ m.content[0].text }}${NEXT}`;
  // As transformers 5.24 takes them, tried with AutoProcessor.
  const folders: ReadonlyArray<readonly [string, Record<string, unknown>, string]> = [
    [
      'chat_template.json before chat_template.jinja',
      { 'chat_template.json': say('json'), 'chat_template.jinja': say('jinja') },
      'json',
    ],
    [
      'processor_config.json before all',
      { 'processor_config.json': say('processor'), 'chat_template.json': say('json') },
      'processor',
    ],
    [
      'chat_template.jinja before tokenizer_config.json',
      { 'chat_template.jinja': say('jinja'), 'tokenizer_config.json': say('tokenizer') },
      'jinja',
    ],
    [
      '"default" of a list',
      {
        'tokenizer_config.json': [
          { name: 'rag', template: say('rag') },
          { name: 'default', template: say('default') },
        ],
      },
      'default',
    ],
    [
      '"default" of an object',
      { 'processor_config.json': { default: say('default'), other: say('other') } },
      'default',
    ],
    [
      'a folder of named ones',
      {
        'additional_chat_templates/default.jinja': say('more'),
        'additional_chat_templates/tool_use.jinja': say('tool'),
      },
      'more',
    ],
  ];

  it.each(folders)('%s', async (_, files, wanted) => {
    const folder = modelWith('llava-mha');
    rmSync(join(folder, 'chat_template.json'));
    write(folder, files);
    const { all } = await learned(folder, sample([user('Hello'), answer('good')]));
    expect(all).toContain(`${wanted} USER: Hello`);
  });

  it('is told where none is called "default"', async () => {
    const folder = modelWith('llava-mha');
    rmSync(join(folder, 'chat_template.json'));
    write(folder, { 'tokenizer_config.json': [{ name: 'rag', template: say('rag') }] });
    await expect(openProcessor(folder)).rejects.toThrow('of its chat templates ("rag") none is called "default"');
  });

  function write(folder: string, files: Record<string, unknown>): void {
    for (const [name, template] of Object.entries(files)) {
      const path = join(folder, name);
      mkdirSync(join(path, '..'), { recursive: true });
      if (name.endsWith('.jinja')) writeFileSync(path, template as string);
      else {
        const before = name === 'chat_template.json' ? {} : JSON.parse(readFileSync(path, 'utf8'));
        writeFileSync(path, JSON.stringify({ ...before, chat_template: template }));
      }
    }
  }
});
