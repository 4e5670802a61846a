import { describe, expect, it } from 'vitest';
import { match, readRules } from './rules.ts';

const file = (...rules: object[]) => JSON.stringify({ schema: 1, rules });
const pets = { bucket: 'data', prefix: 'pets/', stream: 'pets' };

describe('a file of rules', () => {
  it('gives a definition the name of its stream', () => {
    const definition = { model: 's3://models/tiny', training: { epochs: 3 } };
    expect(readRules(file({ ...pets, definition }, { bucket: 'other', stream: 'rest' }), 'rules.json')).toEqual([
      { ...pets, definition: { ...definition, name: 'pets' } },
      { bucket: 'other', prefix: '', stream: 'rest' },
    ]);
  });

  it.each([
    ['[]', /expected object/],
    ['{"schema": 2, "rules": []}', /reads schema 1/],
    [file(), /name at least one place/],
    [file({ ...pets, stream: 'Pets!' }), /use a-z, 0-9 and -/],
    [file({ ...pets, bucket: 's3://data' }), /no bucket name/],
    [file({ ...pets, prefix: '/pets' }), /do not start with/],
    [file({ ...pets, task: 'x' }), /Unrecognized key: "task"/],
    [file({ ...pets, definition: { method: 'lilora' } }), /name the base model|expected string/],
    [file({ ...pets, definition: { model: 'm', name: 'other' } }), /a definition has model, method/],
    [file(pets, { ...pets, stream: 'others' }), /two rules are for s3:\/\/data\/pets\//],
    [
      file({ ...pets, definition: { model: 'a' } }, { ...pets, prefix: 'more/', definition: { model: 'b' } }),
      /stream pets is defined in two ways/,
    ],
    ['{"schema": 1, "schema": 1, "rules": []}', /stands twice/],
  ])('%s is refused in words', (text, message) => {
    expect(() => readRules(text, 'rules.json')).toThrow(message);
    expect(() => readRules(text, 'rules.json')).toThrow(expect.objectContaining({ name: 'BadConfig' }));
  });
});

describe('what triggers', () => {
  const rules = readRules(
    file(pets, { bucket: 'data', prefix: 'pets/cats/', stream: 'cats' }, { bucket: 'all', stream: 'all' }),
    'rules.json',
  );
  const found = (bucket: string, key: string) => {
    const matched = match(rules, { bucket, key });
    return matched && [matched.rule.stream, matched.dataset];
  };

  it.each([
    ['data', 'pets/dogs/dataset.json', ['pets', 's3://data/pets/dogs']],
    ['data', 'pets/dataset.json', ['pets', 's3://data/pets']],
    ['data', 'pets/cats/2/dataset.json', ['cats', 's3://data/pets/cats/2']],
    ['all', 'dataset.json', ['all', 's3://all']],
    ['all', 'a b/ü+%20/dataset.json', ['all', 's3://all/a b/ü+%20']],
  ])('s3://%s/%s', (bucket, key, expected) => expect(found(bucket, key)).toEqual(expected));

  it.each([
    ['data', 'pets/dogs/images/1.png'],
    ['data', 'pets/dogs/train.json'],
    ['data', 'pets/dogs/mydataset.json'],
    ['data', 'pets/dogs/dataset.json.tmp'],
    ['data', 'pets/dogs/dataset.json/'],
    ['data', 'plants/dataset.json'],
    ['database', 'pets/dogs/dataset.json'],
    ['data', 'pets//dogs/dataset.json'],
    ['data', 'pets/../plants/dataset.json'],
    ['data', '/pets/dataset.json'],
  ])('not s3://%s/%s', (bucket, key) => expect(found(bucket, key)).toBeNull());
});
