import { describe, expect, test } from 'vitest';
import { assemble } from '../../dataplane/bpf/assemble.ts';
import { programTag } from '../../dataplane/bpf/tag.ts';

function tag(source: string): string {
  return programTag(assemble(source).instructions);
}

describe('program tags, as Linux 6.18 gave them to the same instructions', () => {
  test('two instructions', () => {
    expect(tag('r0 = 0\nexit')).toBe('59f4a931744dcdc6');
  });

  test('a map reference counts without its descriptor', () => {
    expect(tag('r1 = map[counters]\nr0 = 0\nexit')).toBe('0bd0168676c7c779');
    expect(tag('r1 = map[fd:7]\nr0 = 0\nexit')).toBe('0bd0168676c7c779');
  });

  test('a map value counts without its descriptor and offset', () => {
    expect(tag('r1 = map[counters][0]+0\nr0 = 0\nexit')).toBe('28813e616f1f93d1');
    expect(tag('r1 = map[counters][0]+4\nr0 = 0\nexit')).toBe('28813e616f1f93d1');
  });
});
