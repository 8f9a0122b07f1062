import { expect, test } from 'vitest';
import { CPU_BLOCK, FAULT } from '../../dataplane/machine/cpu.ts';
import { Machine } from '../../dataplane/machine/machine.ts';

test('a run begins with its whole budget and stack, whatever the run before it left', () => {
  const machine = new Machine({ instructionBudget: 1000 });
  const begin = { budget: 1000, tailCalls: 0, fault: FAULT.none, framePointer: machine.stackTop, programId: 7 };
  for (const cell of Object.keys(begin) as (keyof typeof begin)[]) machine.setCell(CPU_BLOCK[cell], 99);
  machine.beginRun(7);
  for (const [cell, value] of Object.entries(begin)) expect(machine.cell(CPU_BLOCK[cell as keyof typeof begin]), cell).toBe(value);
});
