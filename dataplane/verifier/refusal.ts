/** A program was refused: caught in verify.ts, never seen outside. */
export type RefusalErrno = 'EACCES' | 'EINVAL' | 'EPERM' | 'E2BIG' | 'EFAULT' | 'ENOTSUPP' | 'ENOENT' | 'EEXIST' | 'ENOMEM' | 'EOPNOTSUPP';

export class Refused extends Error {
  readonly errno: RefusalErrno;

  constructor(errno: RefusalErrno, message: string) {
    super(message);
    this.errno = errno;
  }
}

/** Whether Linux takes the program for a mistake of its own verifier: it then warns of itself, or worse. */
export function isLinuxMistake({ errno, message }: { readonly errno: RefusalErrno; readonly message: string }): boolean {
  return errno === 'EFAULT' && message.startsWith('verifier bug');
}

/** `message` is spelled as Linux's verifier spells it. */
export function refuse(errno: RefusalErrno, message: string): never {
  throw new Refused(errno, message);
}
