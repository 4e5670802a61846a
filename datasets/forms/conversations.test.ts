import { describe, expect, it } from 'vitest';
import { LITERAL_IMAGE } from '../../core/sample.ts';
import { readJson, readTable, refusalOf } from '../../test/forms/read.ts';

const user = (content: unknown) => ({ role: 'user', content });
const answer = (content: unknown, rest: object = {}) => ({ role: 'assistant', content, ...rest });
const talk = (...rest: object[]) => [
  user('What is 2 + 2?'),
  answer('five', ...rest),
  user('Sure?'),
  answer('No, four.'),
];
const pair = [user('What?'), answer('red')];
const human = [
  { from: 'human', value: 'What?' },
  { from: 'gpt', value: 'red' },
];

describe('keys of turns and of conversations', () => {
  it.each([
    ['role and content in conversations', { conversations: pair }],
    ['from and value in messages', { messages: human }],
    ['JSON text', { messages: JSON.stringify(pair) }],
    ['lists by key', { conversations: { from: ['human', 'gpt'], value: ['What?', 'red'] } }],
    [
      'other names of roles',
      {
        conversations: [
          { from: 'USER', value: 'What?' },
          { from: 'model', value: 'red' },
        ],
      },
    ],
    ['prompt and completion of messages', { prompt: [user('What?')], completion: [answer('red')] }],
    ['prompt and completion of texts', { prompt: 'What?', completion: 'red' }],
    ['The Cauldron', { texts: [{ user: 'What?', assistant: 'red', source: 'made' }] }],
    ['The Cauldron in columns', { texts: { user: ['What?'], assistant: ['red'] } }],
    ['rounds', { conversation: [{ input: 'What?', output: 'red' }] }],
    ['rounds under any list of turns', { conversations: [{ human: 'What?', assistant: 'red' }] }],
    ['one part alone', { messages: [user({ type: 'text', text: 'What?' }), answer(['red'])] }],
  ])('%s are read', (_, sample) => {
    expect(readJson(sample).turns).toEqual([
      { role: 'user', text: 'What?' },
      { role: 'assistant', text: 'red' },
    ]);
  });

  it('a conversation under another name is read where columns say so, and asked for where not', () => {
    const sample = { dialog: pair };
    expect(readJson(sample, { columns: { messages: 'dialog' } }).turns).toHaveLength(2);
    expect(refusalOf(sample)).toMatch(
      /no form of samples fits the keys "dialog": a row has no question.*if "dialog" is the conversation, write "columns": \{"messages": "dialog"\}/,
    );
  });

  it.each([
    [{ messages: [{ speaker: 'a', words: 'b' }] }, /turn 1 has the keys speaker, words; write "role" and "content"/],
    [{ messages: [user('a'), { role: 'critic', content: 'b' }] }, /turn 2 has the role "critic"; use user/],
    [{ messages: 'hello' }, /"messages" must be a list of turns/],
    [{ messages: '[{"role": "user"' }, /"messages" looks like JSON, but /],
    [{ conversations: { from: ['human'], value: [] } }, /lists that are not equally long/],
  ])('%j is refused by what is there', (sample, message) => {
    expect(refusalOf(sample)).toMatch(message);
  });

  it('what a system or earlier rounds say stands before the conversation', () => {
    const sample = { system: 'Be brief.', history: [['Who?', 'Rex']], conversations: human };
    expect(readJson(sample).turns.map(({ role, text }) => `${role}: ${text}`)).toEqual([
      'system: Be brief.',
      'user: Who?',
      'assistant: Rex',
      'user: What?',
      'assistant: red',
    ]);
    expect(refusalOf({ history: ['Who?'], conversations: human })).toMatch(/"history" 1 must be \[question, answer\]/);
  });
});

describe('turns without loss', () => {
  it.each([{ loss: false }, { loss: 0 }, { train: false }, { training: false }, { weight: 0 }, { mask: true }])(
    '%j is no loss',
    (mark) => {
      expect(readJson({ messages: talk(mark) }).turns[1]).toEqual({ role: 'assistant', text: 'five', loss: false });
    },
  );
  it.each([{ loss: true }, { train: 1 }, { weight: 1 }, { weight: null }, { masked: false }])(
    '%j is learned',
    (mark) => {
      expect(readJson({ messages: talk(mark) }).turns[1]).toEqual({ role: 'assistant', text: 'five' });
    },
  );
  it('marks of questions say nothing new, unless they are to be learned', () => {
    const marked = (value: number) => ({ messages: [{ ...user('a'), weight: value }, answer('b', { weight: 1 })] });
    expect(readJson(marked(0)).turns[0]).toEqual({ role: 'user', text: 'a' });
    expect(refusalOf(marked(1))).toMatch(/turn 1 \(user\) is to be learned, but only answers can be/);
  });
  it('the context of a prompt is not learned', () => {
    const { turns } = readJson({ prompt: [...pair, user('Sure?')], completion: [answer('yes')] });
    expect(turns.map(({ loss }) => loss)).toEqual([undefined, false, undefined, undefined]);
  });
  it.each([
    [{ messages: talk({ weight: 0.5 }) }, /weight 0.5; a turn is learned \(1, true\) or not/],
    [{ messages: talk({ loss: false, train: true }) }, /says both that it is learned and that it is not/],
    [{ messages: [user('a'), answer('b', { loss: false })] }, /the last assistant turn is not to be learned/],
    [{ messages: [user('a'), answer('b', { train_detail: [{ begin: 0 }] })] }, /"messages\[\]\.train_detail" is a key/],
  ])('%j is refused', (sample, message) => {
    expect(refusalOf(sample)).toMatch(message);
  });
});

describe('what was thought', () => {
  const keyed = (key: string) => ({ messages: [user('a'), answer('b', { [key]: 'Hm.' })] });
  const within = { messages: [user('a'), answer('<think>\nHm.\n</think>\n\nb')] };

  it.each(['reasoning_content', 'reasoning', 'thinking'])('%s is refused, learned or left out', (key) => {
    expect(refusalOf(keyed(key))).toMatch(/holds what was thought.*"reasoning": "learn" in dataset\.json.*"leave-out"/);
    expect(readJson(keyed(key), { reasoning: 'learn' }).turns[1]).toEqual({
      role: 'assistant',
      text: 'b',
      reasoning: 'Hm.',
    });
    const left: string[] = [];
    expect(readJson(keyed(key), { reasoning: 'leave-out' }, left).turns[1]).toEqual({ role: 'assistant', text: 'b' });
    expect(left).toEqual([`ignore messages[].${key}`]);
  });
  it('<think> within the answer, too', () => {
    expect(refusalOf(within)).toMatch(/begins with what was thought \(<think>\)/);
    expect(readJson(within, { reasoning: 'learn' }).turns[1]!.text).toBe('<think>\nHm.\n</think>\n\nb');
    expect(readJson(within, { reasoning: 'leave-out' }).turns[1]!.text).toBe('b');
  });
});

describe('tools', () => {
  const weather = { name: 'weather', description: 'Of a town.', parameters: { type: 'object' } };
  const call = { id: 'c1', type: 'function', function: { name: 'weather', arguments: '{"town": "Bonn", "days": 2}' } };
  const calls = [{ name: 'weather', arguments: { town: 'Bonn', days: 2 }, id: 'c1' }];
  const asked = { role: 'user', text: 'Rain?' };

  it('calls and results as OpenAI writes them', () => {
    const sample = {
      tools: [{ type: 'function', function: weather }],
      messages: [
        user('Rain?'),
        { role: 'assistant', content: null, tool_calls: [call] },
        { role: 'tool', tool_call_id: 'c1', name: 'weather', content: '{"rain": true}' },
        answer('Yes.'),
      ],
    };
    const read = readJson(sample);
    expect(read.tools).toEqual([{ type: 'function', function: weather }]);
    expect(read.turns).toEqual([
      asked,
      { role: 'assistant', text: '', toolCalls: calls },
      { role: 'tool', text: '{"rain": true}', name: 'weather', toolCallId: 'c1' },
      { role: 'assistant', text: 'Yes.' },
    ]);
  });

  it('calls and results as ShareGPT writes them, and an answer that is a call', () => {
    const sample = {
      tools: JSON.stringify([weather]),
      conversations: [
        { from: 'human', value: 'Rain?' },
        { from: 'function_call', value: '{"name": "weather", "arguments": {"town": "Bonn"}}' },
        { from: 'observation', value: '{"rain": true}' },
        { from: 'gpt', value: 'Yes.' },
      ],
    };
    const read = readJson(sample);
    expect(read.tools).toEqual([{ type: 'function', function: weather }]);
    expect(read.turns[1]).toEqual({
      role: 'assistant',
      text: '',
      toolCalls: [{ name: 'weather', arguments: { town: 'Bonn' } }],
    });
    const short = readJson({ ...sample, conversations: sample.conversations.slice(0, 2) });
    expect(short.references).toEqual(['{"name":"weather","arguments":{"town":"Bonn"}}']);
  });

  it('nulls are values in JSON and in JSON text, and padding in tables', () => {
    const tool = { name: 'f', parameters: { type: 'object', default: null } };
    const of = (given: unknown) => ({
      messages: [user('a'), answer(null, { tool_calls: [{ name: 'f', arguments: given }] })],
    });
    const args = (read: ReturnType<typeof readJson>) => read.turns[1]!.toolCalls![0]!.arguments;
    expect(args(readJson(of({ unit: null })))).toEqual({ unit: null });
    expect(args(readTable(of({ unit: null, town: 'Bonn' })))).toEqual({ town: 'Bonn' });
    expect(args(readTable(of('{"unit": null}')))).toEqual({ unit: null });
    expect(readJson({ ...of({}), tools: [tool] }).tools).toEqual([{ type: 'function', function: tool }]);
    expect(readTable({ ...of({}), tools: [{ ...tool, strict: null }] }).tools).toEqual([
      { type: 'function', function: { name: 'f', parameters: { type: 'object' } } },
    ]);
  });

  it.each([
    [[{ role: 'tool', content: '1' }, ...pair], /turn 1 is the result of a tool that no turn before it calls/],
    [[user('a'), answer('', { tool_calls: [call] }), user('b'), answer('c')], /the tool of turn 2 waits for an answer/],
    [
      [user('a'), answer('', { tool_calls: [{ function: { name: 'f', arguments: '[1]' } }] })],
      /arguments must be an object/,
    ],
    [[user('a'), answer('', { tool_calls: [{ name: 'f', result: 1 }] })], /has the key "result", which is not read/],
    [
      [user('a'), answer('', { tool_calls: [{ name: 'f', arguments: '{"n": 12345678901234567890}' }] })],
      /too many digits/,
    ],
  ])('%j is refused', (messages, message) => {
    expect(refusalOf({ messages })).toMatch(message);
  });
});

describe('marks of pictures', () => {
  const two = { images: ['1.png', '2.png'] };
  const said = (text: string, rest: object = {}) => ({ messages: [user(text), answer('b')], ...rest });
  const asked = (sample: Record<string, unknown>, about = {}) => {
    const { turns, images } = readJson(sample, about);
    return [turns[0]!.text, ...images];
  };

  it('pictures without a mark stand before the first question, as TRL puts them', () => {
    expect(asked(said('Same?', two))).toEqual(['<image>\n<image>\nSame?', '1.png', '2.png']);
    expect(refusalOf({ conversations: human, image: '1.png' })).toMatch(/1 image\(s\) but no <image> marker/);
  });
  it('numbers choose the picture', () => {
    expect(asked(said('Is <image 2> as <image 1>?', two))).toEqual(['Is <image> as <image>?', '2.png', '1.png']);
    expect(asked(said('<|image_1|>\n<|image_2|>\nSame?', two))).toEqual(['<image>\n<image>\nSame?', '1.png', '2.png']);
    expect(refusalOf(said('Is <image 3> red?', two))).toMatch(
      /the mark "<image 3>" of a picture, but the sample has 2/,
    );
    expect(refusalOf(said('Is <image 1> red?', two))).toMatch(/the picture "images 2" is marked in no question/);
    expect(refusalOf(said('Is <image_1> red?'))).toMatch(/but the sample has none.*write "marker" into dataset\.json/);
  });
  it('a part chooses by its index', () => {
    const content = [
      { type: 'image', index: 1 },
      { type: 'image', index: 0 },
      { type: 'text', text: 'Same?', index: null },
    ];
    expect(readJson({ messages: [user(content), answer('b')], ...two }).images).toEqual(['2.png', '1.png']);
  });
  it.each(['<|image|>', '<image_placeholder>', '[IMG]', '<ImageHere>', '<start_of_image>', '<|image_pad|>'])(
    'beside a picture, %s is no text: it is a mark of another program',
    (mark) => {
      const sample = { messages: [user(`${mark}What?`), answer('x')], images: ['1.png'] };
      expect(refusalOf(sample)).toContain(`a question has ${JSON.stringify(mark)}, which marks no picture here`);
      const { turns, images } = readJson(sample, { marker: mark });
      expect([turns[0]!.text, images]).toEqual(['<image>What?', ['1.png']]);
      expect(readJson({ messages: sample.messages }).turns[0]!.text).toBe(`${mark}What?`);
    },
  );
  it('with a marker of its own, all others are text', () => {
    const about = { marker: '<picture>' };
    const sample = said('<picture>What does <image> do? <video> <image 1> <img src="1.png">', { images: ['1.png'] });
    const literal = `<image>What does ${LITERAL_IMAGE} do? <video> <image 1> <img src="1.png">`;
    expect(asked(sample, about)).toEqual([literal, '1.png']);
    const answered = readJson({ messages: [user('Tag?'), answer('<image>')] }, about);
    expect(answered.turns[1]!.text).toBe(LITERAL_IMAGE);
    expect(answered.references).toEqual([LITERAL_IMAGE]);
  });
  it.each([
    ['<img>2.png</img>What?', /shows the picture "2\.png", which the sample does not read/],
    ['<video>\nWhat?', /the mark <video>; video and audio are not read yet/],
    ['<image><audio>What?', /the mark <audio>/],
    ['<img>1.png</img>What?', /"1\.png"/],
    ['<img src="1.png"> What?', /shows the picture "1\.png"/],
    ['![figure](./1.png) What?', /shows the picture "1\.png"/],
    ['<img>elsewhere.png</img>What?', /has the picture "<img>elsewhere\.png<\/img>" in its text, which is not read/],
    [`See data:image/png;base64,${'A'.repeat(60)}`, /holds a picture as base64 in its text/],
  ])('%s is refused', (text, message) => {
    expect(refusalOf(said(text))).toMatch(message);
  });
  it('an answer may show what the sample reads, not what it does not', () => {
    const sample = (image: string) => ({
      messages: [user('<image>Markdown?'), answer(`# A\n![figure](${image})`)],
      images: ['1.png'],
    });
    expect(readJson(sample('1.png')).turns[1]!.text).toBe('# A\n![figure](1.png)');
    expect(readJson(sample('elsewhere.png')).images).toEqual(['1.png']);
    expect(refusalOf(sample('2.png'))).toMatch(/turn 2 \(assistant\) shows the picture "2\.png"/);
  });
  it('a part may hold its picture under source', () => {
    const data = Buffer.concat([Buffer.from([0xff, 0xd8, 0xff, 0xe0]), Buffer.alloc(60)]).toString('base64');
    const source = { type: 'base64', media_type: 'image/jpeg', data };
    const content = [
      { type: 'image', source },
      { type: 'text', text: 'What?' },
    ];
    expect(readJson({ messages: [user(content), answer('b')] }).images).toHaveLength(1);
  });
  it.each(['Which tag, <video> or <audio>?', 'What does <img src="logo.svg"> show?'])('%s is text', (text) => {
    expect(asked(said(text))).toEqual([text]);
  });
});
