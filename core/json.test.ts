import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalJson, digestOf, type ParseJsonOptions, parseJson, WrittenNumber } from './json.ts';

const utf8 = (text: string) => new TextEncoder().encode(text);
const refusal = (content: string | Uint8Array, options?: ParseJsonOptions): string => {
  try {
    parseJson(content, 'data.json', options);
  } catch (error) {
    return `${(error as Error).name}: ${(error as Error).message}`;
  }
  return 'accepted';
};

describe('parseJson', () => {
  test('agrees with JSON.parse on what it accepts', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 6 }), fc.constantFrom(0, 1, 3), (text, indent) => {
        const spaced = JSON.stringify(JSON.parse(text), null, indent);
        if (/"(__proto__|constructor|prototype)":/.test(spaced)) return;
        expect(parseJson(utf8(spaced), 'x')).toEqual(JSON.parse(spaced));
      }),
      { numRuns: 500 },
    );
  });

  test('never accepts what JSON.parse refuses', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 3 }), fc.nat(), fc.constantFrom(...'{}[]",:\\\u0000 tn0-.e'), (text, at, c) => {
        const i = at % text.length;
        const broken = text.slice(0, i) + c + text.slice(i + 1);
        let ours: unknown;
        try {
          ours = parseJson(broken, 'x');
        } catch (error) {
          expect((error as Error).name).toBe('IntegrityError');
          return;
        }
        expect(ours).toEqual(JSON.parse(broken));
      }),
      { numRuns: 2000 },
    );
  });

  test.each([
    ['{"a": 1,\n "b": 2,\n  "a": 3}', 'data.json:3:3: the key "a" stands twice'],
    ['{"a": {"\\u0061": 1, "a": 2}}', 'the key "a" stands twice'],
    ['{"__proto__": {"admin": true}}', 'data.json:1:2: the key "__proto__" is not allowed'],
    ['{"\\u005f_proto__": 1}', 'the key "__proto__" is not allowed'],
    ['[{"constructor": 1}]', 'the key "constructor" is not allowed'],
    ['{"prototype": 1}', 'the key "prototype" is not allowed'],
    ['[1, 2', 'data.json:1:6: expected "," or "]"'],
    ['', 'data.json:1:1: the text ends too early'],
    ['{"a": tru}', 'data.json:1:7: expected a JSON value'],
    ['[01]', 'expected "," or "]"'],
    ['[1e999]', 'the number 1e999 is too large'],
    ['[NaN]', 'expected a JSON value'],
    ['{"a": 1} x', 'data.json:1:10: text after the end'],
    ["{'a': 1}", 'expected a key in double quotes'],
    ['["\\ud800"]', 'half of a surrogate pair'],
    ['["a\tb"]', 'a control character inside a string'],
    ['["\\x41"]', 'an unknown escape'],
    ['"abc', 'data.json:1:1: the string that starts here has no end'],
    ['[1,]', 'expected a JSON value'],
    ['{"a":1,}', 'expected a key'],
  ])('refuses %s', (text, message) => expect(refusal(text)).toContain(message));

  test('bounds depth and size, and the error has the name that the caller wants', () => {
    expect(refusal('['.repeat(100_000))).toContain('nested deeper than 64 levels');
    expect(refusal('[[[1]]]', { maxDepth: 2 })).toContain('nested deeper than 2 levels');
    expect(refusal('[1,2,3]', { maxBytes: 6, errorName: 'BadDataset' })).toMatch(
      /^BadDataset: .*7 bytes is over the limit/,
    );
  });

  test('bytes must be UTF-8; a byte order mark at the start is dropped, elsewhere it is an error', () => {
    expect(refusal(Uint8Array.of(0x5b, 0x0a, 0x22, 0xff, 0x22, 0x5d))).toContain('data.json:2:2: not valid UTF-8');
    expect(refusal(Uint8Array.of(0x22, 0xed, 0xa0, 0x80, 0x22))).toContain('not valid UTF-8');
    expect(refusal(Buffer.from('{"a":1}', 'utf16le'))).toContain('data.json:1:2');
    expect(parseJson(utf8('\ufeff{"a":1}'), 'x')).toEqual({ a: 1 });
    expect(refusal('[\ufeff1]')).toContain('expected a JSON value');
  });

  test('vocabularies may have any key, still without reaching a prototype', () => {
    const parsed = parseJson('{"__proto__": {"x": 1}, "constructor": 2}', 'x', { anyKeys: true }) as Record<
      string,
      unknown
    >;
    expect(Object.keys(parsed)).toEqual(['__proto__', 'constructor']);
    expect(parsed.x).toBeUndefined();
    expect(refusal('{"__proto__": 1, "__proto__": 2}', { anyKeys: true })).toContain('stands twice');
  });
});

describe('canonicalJson', () => {
  test('sorts keys at every depth and writes no spaces', () => {
    expect(canonicalJson({ b: [1, { d: null, c: 'ü"' }], a: -0.5e-7, A: true })).toBe(
      '{"A":true,"a":-5e-8,"b":[1,{"c":"ü\\"","d":null}]}',
    );
    expect(canonicalJson(-0)).toBe('0');
  });

  test('does not depend on the order of keys, and reads back as the same value', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 3 })), (value) => {
        const plain = JSON.parse(JSON.stringify(value));
        const reversed = Object.fromEntries(Object.entries(plain).reverse());
        expect(canonicalJson(reversed)).toBe(canonicalJson(plain));
        expect(digestOf(reversed)).toBe(digestOf(plain));
        expect(JSON.parse(canonicalJson(plain))).toEqual(plain);
      }),
    );
  });

  test.each([
    [{ a: [1, undefined] }, '$.a[1] is a value of type undefined'],
    [{ a: undefined }, '$.a is a value of type undefined'],
    [[Number.NaN], '$[0] is NaN'],
    [{ x: Number.POSITIVE_INFINITY }, '$.x is Infinity'],
    [() => 1, '$ is a value of type function'],
    [{ n: 1n }, '$.n is a value of type bigint'],
    [new Map(), '$ is an object of a class'],
    [{ when: new Date() }, '$.when is an object of a class'],
    [new Array(2), '$[0] is a value of type undefined'],
  ])('refuses what JSON cannot hold: %#', (value, message) => expect(() => canonicalJson(value)).toThrow(message));

  test('refuses a cycle', () => {
    const loop: Record<string, unknown> = {};
    loop.self = loop;
    expect(() => canonicalJson(loop)).toThrow('nested deeper than 64 levels');
  });
});

describe('numbers as they were written', () => {
  const read = (text: string) => parseJson(text, 'numbers.json', { writtenNumbers: true });
  test.each(['12345678901234567890', '9007199254740993', '1.50', '100.0', '1e3', '-0', '0.1000000000000000055'])(
    '%s',
    (text) => {
      expect(String(read(text))).toBe(text);
      expect(read(text)).toBeInstanceOf(WrittenNumber);
      expect(parseJson(text, 'numbers.json')).toBe(Number(text));
    },
  );
  test.each(['0', '-7', '1.5', '9007199254740991'])('%s is a plain number', (text) => {
    expect(read(text)).toBe(Number(text));
  });
});

test('what Python writes for numbers that are not finite is read where that is asked for', () => {
  const text = '{"a": NaN, "b": [Infinity, -Infinity, -1], "c": "NaN"}';
  expect(parseJson(text, 'config.json', { nonFinite: true })).toEqual({
    a: Number.NaN,
    b: [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -1],
    c: 'NaN',
  });
  expect(() => parseJson(text, 'config.json')).toThrow(/config\.json:1:7: expected a JSON value/);
  for (const wrong of ['{"a": Nan}', '{"a": +Infinity}', '{"a": inf}', '{"a": 1e999}'])
    expect(() => parseJson(wrong, 'x', { nonFinite: true })).toThrow(/x:1:7/);
});
