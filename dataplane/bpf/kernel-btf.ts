/**
 * The BTF of the kernel that programs are fitted to: a file that was named, else the running kernel's where it can be
 * read, else the bundled one.
 */
import { readFileSync } from 'node:fs';
import { XdplabError } from '../errors.ts';
import { Btf } from './btf.ts';
import { bundledBtf } from './bundled-btf.ts';
import { openObject } from './object-file.ts';

/** World-readable on every distribution. */
const RUNNING_KERNEL = '/sys/kernel/btf/vmlinux';
const ELF_MAGIC = 0x7f;

function read(path: string): Uint8Array {
  try {
    return new Uint8Array(readFileSync(path));
  } catch (error) {
    throw new XdplabError('ERR_FILE', `${path}: ${(error as NodeJS.ErrnoException).code ?? 'not readable'}; expected a file of BTF, such as ${RUNNING_KERNEL}`, { cause: error });
  }
}

/** Raw BTF, or an object or kernel image with a section `.BTF`. */
export function readBtfFile(path: string): Btf {
  const bytes = read(path);
  if (bytes[0] !== ELF_MAGIC) return Btf.parse(bytes, path);
  return openObject(bytes, path).btf ?? failNoBtf(path);
}

function failNoBtf(path: string): never {
  throw new XdplabError('ERR_BTF', `${path}: no section .BTF; expected a file of BTF, or an object compiled with -g`);
}

/** Without a path; 15 ms for the running kernel's, so it is read once and only when asked for. */
export function defaultKernelBtf(): Btf {
  running ??= tryRunning() ?? bundledBtf();
  return running;
}

let running: Btf | undefined;

function tryRunning(): Btf | undefined {
  try {
    return Btf.parse(new Uint8Array(readFileSync(RUNNING_KERNEL)), RUNNING_KERNEL);
  } catch {
    return undefined;
  }
}
