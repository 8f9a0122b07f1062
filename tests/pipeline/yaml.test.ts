import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { XdplabError } from '../../dataplane/errors.ts';
import { jsonText } from '../../dataplane/pipeline/json-text.ts';
import { parseYaml } from '../../dataplane/pipeline/yaml.ts';

const parse = (text: string): unknown => parseYaml(text, 'lab.yaml', 'ERR_LAB');

test('JSON and the same text as YAML are the same values', () => {
  const value = fc.letrec((tie) => ({
    any: fc.oneof({ maxDepth: 4 }, fc.integer(), fc.boolean(), fc.constant(null), fc.stringMatching(/^[\w .:/-]*$/), fc.array(tie('any'), { maxLength: 4 }), fc.dictionary(fc.stringMatching(/^\w{1,8}$/), tie('any'), { maxKeys: 4 })),
  })).any;
  fc.assert(
    fc.property(fc.array(value, { maxLength: 5 }), (list) => {
      const json = JSON.stringify(list);
      // A comment makes it YAML.
      expect(parse(`# yaml\n${json}`)).toEqual(parse(json));
    }),
  );
});

test('integers keep every digit, as bigints where numbers would lose some', () => {
  expect(parse('a: 18446744073709551615\nb: 9007199254740991\n7: [1.5]')).toEqual(new Map<unknown, unknown>([['a', 18446744073709551615n], ['b', 9007199254740991], [7, [1.5]]]));
});

test('a mapping that begins like JSON may be YAML', () => {
  expect(parse('{ a: 10.0.0.1, b: fd00::1 }')).toEqual(new Map([['a', '10.0.0.1'], ['b', 'fd00::1']]));
  expect(parse('')).toBeNull();
});

test.each([
  ['a: 1\na: 2', 'Map keys must be unique at line 2, column 1'],
  ['- *x', 'Unresolved alias (the anchor must be set before the alias): x'],
  ['- !x 1', 'Unresolved tag: !x at line 1, column 3'],
  ['a: 1\n---\nb: 2', 'found several documents (---), expected one'],
  ['\u007fELF\0\0', 'is not text, expected YAML or JSON'],
  [`a: &a [${Array(99).fill('x').join()}]\nb: &b [${Array(99).fill('*a').join()}]\nc: [${Array(99).fill('*b').join()}]`, 'Excessive alias count indicates a resource exhaustion attack'],
])('%j is refused in one line', (text, problem) => {
  expect(() => parse(text)).toThrow(new XdplabError('ERR_LAB', `lab.yaml: ${problem}`));
});

test('any text gives values or one line', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.stringMatching(/^[[\]{}:,&*!|>\-?#%'" \na-c0-9]*$/)), (text) => {
      try {
        parse(text);
      } catch (error) {
        expect(error).toBeInstanceOf(XdplabError);
        expect((error as XdplabError).message).toMatch(/^lab\.yaml: [^\n]+$/);
      }
    }),
  );
});

test('JSON text reads back and holds no control character', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' })), (value) => {
      const text = jsonText(value);
      expect(JSON.parse(text)).toEqual(value);
      // oxlint-disable-next-line no-control-regex -- what must not be there
      expect(text).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/);
    }),
  );
  expect(jsonText({ a: 5n, b: 2n ** 64n })).toBe('{"a":5,"b":"18446744073709551616"}');
});
