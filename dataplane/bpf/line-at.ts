/** Which C line an instruction belongs to, by the object's line info. */
import type { LineInfo, ProgramSpec } from './spec.ts';

export function lineAt({ lines }: ProgramSpec, slot: number): LineInfo | undefined {
  return lines.findLast((line) => line.slot <= slot);
}
