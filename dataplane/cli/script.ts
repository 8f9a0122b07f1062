/**
 * What scripts with options (`npm run bench`, `traces`, `fuzz`, …) share with the command line: a mistake is one line, and its code
 * decides the exit status (errors.ts). What is neither a mistake nor an XdplabError is a bug, and shows its stack.
 */
import { EXIT_STATUS, XdplabError } from '../errors.ts';

/** Runs `main`, which may say with what status to exit. */
export async function runScript(main: () => number | void | Promise<number | void>): Promise<void> {
  try {
    const status = await main();
    if (typeof status === 'number') process.exitCode = status;
  } catch (error) {
    if (error instanceof XdplabError) {
      process.stderr.write(`${error.message}\n`);
      process.exitCode = error.exitStatus;
    } else if (isOfParseArgs(error)) {
      // `Unknown option '--lop'. To specify a positional argument …`
      process.stderr.write(`${error.message.split('. ')[0]}; --help says what there is\n`);
      process.exitCode = EXIT_STATUS.ERR_USAGE;
    } else {
      throw error;
    }
  }
}

function isOfParseArgs(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS_');
}

export function wholeFrom1(option: string, text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value > 0 && Number.isSafeInteger(value)) return value;
  throw new XdplabError('ERR_USAGE', `${option}: found "${text}", expected a whole number from 1`);
}

export function secondsAbove0(option: string, text: string): number {
  const value = Number(text);
  if (value > 0 && value < Infinity) return value;
  throw new XdplabError('ERR_USAGE', `${option}: found "${text}", expected seconds above 0`);
}
