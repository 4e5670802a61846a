import { describe, expect, it } from 'vitest';
import { readJson, readValue, refusalOf } from '../../test/forms/read.ts';

const row = { question: 'What?', answer: 'red' };
const talk = {
  messages: [
    { role: 'user', content: 'What?' },
    { role: 'assistant', content: 'red' },
  ],
};
const base64 = Buffer.concat([Buffer.from([0xff, 0xd8, 0xff, 0xe0]), Buffer.alloc(60)]).toString('base64');

describe('keys that no form reads', () => {
  it('bookkeeping is left out and told', () => {
    const left: string[] = [];
    const sample = {
      ...row,
      source: 'web',
      url: 'https://example.org/1.png',
      width: 3,
      metadata: { a: 1 },
      dataset: '',
    };
    expect(readJson(sample, {}, left).turns).toHaveLength(2);
    expect(left).toEqual(['bookkeeping source', 'bookkeeping url', 'bookkeeping width', 'bookkeeping metadata']);
  });
  it('what the manifest ignores is left out at any depth and told', () => {
    const left: string[] = [];
    const messages = [{ role: 'user', content: 'What?', mood: 'calm' }, ...talk.messages.slice(1)];
    readJson({ messages, category: 'colour' }, { ignore: ['mood', 'category'] }, left);
    expect(left).toEqual(['ignore category', 'ignore messages[].mood']);
  });
  it.each(['hint', 'category', 'explanation', 'score', 'context_2', 'lecture', 'tools_used'])(
    '%s is refused by name',
    (key) => {
      for (const sample of [row, talk])
        expect(refusalOf({ ...sample, [key]: 'x' })).toMatch(
          new RegExp(`"${key}" is a key that no form reads; say "ignore": \\["${key}"\\] in dataset.json`),
        );
      for (const nothing of [null, '', [], {}, [null, '']])
        expect(readJson({ ...row, [key]: nothing }).turns).toHaveLength(2);
    },
  );
  it('all of them at once, with the one line that mends it', () => {
    expect(refusalOf({ ...row, hint: 'x', lecture: 'y', messages_left: [{ a: 1 }] })).toMatch(
      /keys that no form reads: "hint" \("x", in 1\), "lecture" \("y", in 1\), "messages_left" .*say "ignore": \["hint","lecture","messages_left"\]/,
    );
  });
  it('the spelling of bookkeeping does not matter', () => {
    const left: string[] = [];
    readJson({ ...row, questionId: 1, 'Image-ID': 'a', docId: 3, 'Unnamed: 0': 4 }, {}, left);
    expect(left).toHaveLength(4);
  });
  it('what is named like a picture but holds none is told as what it is', () => {
    expect(refusalOf({ ...row, image_classes: ['Person'] })).toMatch(/"image_classes" is a key that no form reads/);
  });
  it('preference data is told for what it is', () => {
    expect(refusalOf({ prompt: 'a', chosen: 'b', rejected: 'c' })).toMatch(/of preference data nothing is learned/);
    const about = { columns: { answer: 'chosen' }, ignore: ['rejected'] };
    expect(readJson({ prompt: 'a', chosen: 'b', rejected: 'c' }, about).references).toEqual(['b']);
  });
  it('a text that the conversation holds is not lost', () => {
    expect(readJson({ ...talk, prompt: 'What?' }).turns).toHaveLength(2);
    expect(refusalOf({ ...talk, prompt: 'Which?' })).toMatch(/"prompt" is a key/);
  });
  it.each([
    [{ ...talk, video: 'a.mp4' }, /"video" holds video, which is not read yet/],
    [{ ...talk, audios: ['a.wav'] }, /"audios" holds audio/],
    [{ ...talk, clip: { bytes: null, path: 'a.MP4' } }, /"clip" holds video, which is not read yet/],
    [{ ...talk, voice: ['a.wav'] }, /"voice" holds audio/],
    [{ ...talk, rejected: 'blue' }, /"rejected" is of preference data/],
    [{ ...talk, chat_template_kwargs: { thinking: false } }, /"chat_template_kwargs" is a key/],
    [{ messages: [{ role: 'user', content: [{ type: 'video', video: 'a.mp4' }] }] }, /has the type "video"/],
    [{ messages: [{ role: 'user', content: [{ type: 'image', image: '1.png', max_pixels: 9 }] }] }, /sets max_pixels/],
  ])('%j is refused by name', (sample, message) => {
    expect(refusalOf(sample)).toMatch(message);
  });
  it('a video that is ignored on purpose is left out', () => {
    expect(readJson({ ...talk, video: 'a.mp4' }, { ignore: ['video'] }).turns).toHaveLength(2);
  });
});

describe('pictures that would get lost', () => {
  it.each([
    ['imgs', ['1.png'], /"imgs" names a file of the dataset, which is not read; write "columns": \{"image": "imgs"\}/],
    ['image_path', '1.png', /"image_path" names a file/],
    ['file_name', './1.png', /"file_name" names a file/],
    ['source', '1.png', /"source" names a file/],
    ['extra', { deep: ['2.png'] }, /"extra" names a file/],
    ['photo', 'elsewhere.png', /"photo" is named like a picture and is not read/],
    ['image_url', 'https://example.org/1.png', /"image_url" is named like a picture/],
    ['thing', `data:image/png;base64,${base64}`, /"thing" holds a picture and is not read/],
    ['thing', base64, /"thing" holds a picture/],
  ])('%s: %j is refused', (key, value, message) => {
    expect(refusalOf({ ...row, [key]: value })).toMatch(message);
    expect(refusalOf({ ...talk, [key]: value })).toMatch(message);
    const left: string[] = [];
    readJson({ ...row, [key]: value }, { ignore: [key] }, left);
    expect(left).toEqual([`ignore ${key}`]);
  });
  it('columns take them in, for conversations as well', () => {
    for (const sample of [row, talk])
      expect(
        readJson({ ...sample, imgs: ['1.png'], depth: '2.png' }, { columns: { image: ['imgs', 'depth'] } }).images,
      ).toEqual(['1.png', '2.png']);
  });
  it('a second picture beside the first is refused, its name is not', () => {
    expect(refusalOf({ ...row, image: '1.png', mask: '2.png' })).toMatch(/"columns": \{"image": \["image","mask"\]\}/);
    const left: string[] = [];
    readJson({ ...row, image: '1.png', file_name: 'COCO_1.jpg', image_path: './1.png' }, {}, left);
    expect(left).toEqual(['bookkeeping file_name', 'bookkeeping image_path']);
    expect(refusalOf({ ...row, image: '1.png', images: ['2.png'] })).toMatch(/"image" and "images" all hold pictures/);
  });
  it('bytes in a table are seen under any name, and a column that the file declares is read', () => {
    const photo = { bytes: new Uint8Array(3), path: null };
    expect(() => readValue({ ...row, thing: photo })).toThrow(/"thing" holds a picture/);
    expect(readValue({ ...row, thing: photo }, {}, [], ['thing']).images).toHaveLength(1);
    expect(() => readValue({ ...row, thing: photo, other: photo }, {}, [], ['thing', 'other'])).toThrow(
      /"thing" and "other" all hold pictures/,
    );
    expect(() => readValue({ ...row, thing: { bytes: null, path: null } }, {}, [], ['thing'])).toThrow(
      /holds neither the bytes nor the path of a picture/,
    );
  });
});

describe('where pictures may stand', () => {
  const images = (sample: object) => readJson({ ...row, ...sample }).images;
  it('numbered columns, in the order of their numbers', () => {
    expect(images({ image_10: '2.png', image_2: '1.png' })).toEqual(['1.png', '2.png']);
    const asked = { ...row, question: 'Is <image 2> as <image 1>?', image_1: '1.png', image_2: '2.png' };
    expect(readJson(asked)).toMatchObject({
      images: ['2.png', '1.png'],
      turns: [{ text: 'Is <image> as <image>?' }, {}],
    });
  });
  it('an object by marks', () => {
    const sample = {
      ...row,
      question: '<image_01> or <image_00>?',
      image: { '<image_00>': '1.png', '<image_01>': '2.png' },
    };
    expect(readJson(sample)).toMatchObject({
      images: ['2.png', '1.png'],
      turns: [{ text: '<image> or <image>?' }, {}],
    });
    expect(refusalOf({ ...sample, question: '<image_00>?' })).toMatch(/"<image_01>" is marked in no question/);
  });
  it('base64 with and without data:', () => {
    for (const image of [base64, `data:image/jpeg;base64,${base64}`, base64.replaceAll(/.{20}/g, '$&\n')])
      expect(images({ image })).toMatchObject([{ bytes: new Uint8Array(Buffer.from(base64, 'base64')) }]);
  });
  it('a list that stands as text', () => {
    expect(images({ images: '["1.png", "2.png"]' })).toEqual(['1.png', '2.png']);
    expect(images({ images: "['1.png', '2.png']" })).toEqual(['1.png', '2.png']);
  });
  it('no picture is none', () => {
    for (const image of [null, '', []]) expect(images({ image })).toEqual([]);
  });
  it.each([
    [{ image: [0, 255] }, /"image" holds a list of numbers/],
    [{ image: 'https://example.org/1.png' }, /is a URL/],
    [{ image: '../1.png' }, /leaves the dataset/],
    [{ image: base64.slice(0, -1) }, /not a whole base64 image/],
    [{ image: 5 }, /"image" must be a path/],
  ])('%j is refused', (sample, message) => {
    expect(refusalOf({ ...row, ...sample })).toMatch(message);
  });
});
