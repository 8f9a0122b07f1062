/** A program was refused: caught in verify.ts, never seen outside. */
export type RefusalErrno = 'EACCES' | 'EINVAL' | 'EPERM' | 'E2BIG' | 'EFAULT' | 'ENOTSUPP' | 'ENOENT' | 'EEXIST' | 'ENOMEM' | 'EOPNOTSUPP';

export class Refused extends Error {
  readonly errno: RefusalErrno;
  /** What Linux's log says first, of numbers that an explanation has its own words for: each line with its end. */
  readonly before: string;

  constructor(errno: RefusalErrno, message: string, before = '') {
    super(message);
    this.errno = errno;
    this.before = before;
  }
}

/** Whether Linux takes the program for a mistake of its own verifier: it then warns of itself, or worse. */
export function isLinuxMistake({ errno, message }: { readonly errno: RefusalErrno; readonly message: string }): boolean {
  return errno === 'EFAULT' && message.startsWith('verifier bug');
}

/** `message` is spelled as Linux's verifier spells it. */
export function refuse(errno: RefusalErrno, message: string, before = ''): never {
  throw new Refused(errno, message, before);
}

/** Says of what was refused why it was asked for. */
export function refuseFor({ errno, message, before }: Refused, why: string): never {
  return refuse(errno, why, `${before}${message}\n`);
}
