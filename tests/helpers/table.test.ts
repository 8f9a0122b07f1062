import { describe, expect, test } from 'vitest';
import { PROGRAM_TYPES } from '../../dataplane/bpf/spec.ts';
import { bindHelper, HELPER_NAMES, helperName, HELPERS, helpersOf } from '../../dataplane/helpers/index.ts';
import { Machine } from '../../dataplane/machine/machine.ts';

describe('the table of helpers', () => {
  test('every row has the name that Linux gives its id', () => {
    for (const { id, name } of HELPERS) expect(HELPER_NAMES[id]).toBe(name);
  });

  test('a program type has one row of an id', () => {
    for (const type of PROGRAM_TYPES) {
      const ids = HELPERS.filter(({ programs }) => programs.includes(type)).map(({ id }) => id);
      expect(new Set(ids).size).toBe(ids.length);
      expect([...helpersOf(type).keys()].toSorted((a, b) => a - b)).toEqual(ids);
    }
  });

  test('redirect is another helper at XDP than at TC', () => {
    expect(helpersOf('xdp').get(23)).not.toBe(helpersOf('sched_cls').get(23));
    expect(helpersOf('socket_filter').get(23)).toBeUndefined();
  });

  test('every helper but those of the engine can be bound, and is bound once', () => {
    const machine = new Machine();
    for (const helper of HELPERS) {
      if (helper.implementation.kind === 'engine') continue;
      expect(bindHelper(machine, helper)).toBe(bindHelper(machine, helper));
    }
  });

  test('names are known for helpers that are not here', () => {
    expect(HELPER_NAMES).toHaveLength(212);
    expect(helperName(23)).toBe('bpf_redirect#23');
    expect(helperName(211)).toBe('bpf_cgrp_storage_delete#211');
    expect(helperName(212)).toBe('helper#212');
    expect(helperName(0)).toBe('helper#0');
  });
});
