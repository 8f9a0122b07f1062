/**
 * Errors that a user can act on.
 *
 * Every message is one line that says where, what was found, what was expected and what to do. The code is
 * stable and decides the exit status of the command line; whatever is not an `XdplabError` is a bug of ours.
 */

/** Stable codes, each with the exit status a command ends with. */
export const EXIT_STATUS = {
  ERR_USAGE: 2,
  ERR_FILE: 1,
  ERR_CAPTURE: 1,
  ERR_ELF: 1,
  ERR_BTF: 1,
  ERR_CORE: 1,
  ERR_OBJECT: 1,
  ERR_INSTRUCTION: 3,
  ERR_PROGRAM: 3,
  ERR_MAP: 1,
  ERR_VALUE: 2,
  ERR_LAB: 2,
  ERR_MEMORY: 1,
  /** A program did what the verifier had proven that it does not: a bug of ours. */
  ERR_SOUNDNESS: 1,
  ERR_UNSUPPORTED: 1,
  /** A figure is not what the user said it has to be. */
  ERR_EXPECTATION: 4,
  /** The operating system does not let this process do it. */
  ERR_PRIVILEGE: 5,
  /** A network interface is not there, or does not give what is asked of it. */
  ERR_DEVICE: 5,
  /** Ctrl-C before there was anything to show for it. */
  ERR_INTERRUPTED: 130,
} as const satisfies Record<`ERR_${string}`, number>;

export type ErrorCode = keyof typeof EXIT_STATUS;

export class XdplabError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'XdplabError';
    this.code = code;
  }

  /** The status a command that fails with this error exits with. */
  get exitStatus(): number {
    return EXIT_STATUS[this.code];
  }
}
