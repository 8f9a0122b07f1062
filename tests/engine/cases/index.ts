/** The case table: what every engine has to agree on, and Linux has answered. */
import { ARITHMETIC_CASES } from './arithmetic.ts';
import { BRANCH_CASES } from './branches.ts';
import type { Case } from './case.ts';
import { CONTROL_FLOW_CASES } from './control-flow.ts';
import { EXCEPTION_CASES } from './exceptions.ts';
import { KERNEL_FUNCTION_CASES } from './kernel-functions.ts';
import { MEMORY_CASES } from './memory.ts';
import { UNARY_CASES } from './unary.ts';

export const CASE_TABLE: Readonly<Record<string, readonly Case[]>> = {
  arithmetic: ARITHMETIC_CASES,
  'one operand': UNARY_CASES,
  branches: BRANCH_CASES,
  memory: MEMORY_CASES,
  'control flow': CONTROL_FLOW_CASES,
  'kernel functions': KERNEL_FUNCTION_CASES,
  exceptions: EXCEPTION_CASES,
};
