/** A program was refused: caught in verify.ts, never seen outside. */
export type RefusalErrno = 'EACCES' | 'EINVAL' | 'EPERM' | 'E2BIG' | 'EFAULT' | 'ENOTSUPP' | 'ENOENT' | 'EEXIST' | 'ENOMEM' | 'EOPNOTSUPP';

export class Refused extends Error {
  readonly errno: RefusalErrno;

  constructor(errno: RefusalErrno, message: string) {
    super(message);
    this.errno = errno;
  }
}

/** `message` is spelled as Linux's verifier spells it. */
export function refuse(errno: RefusalErrno, message: string): never {
  throw new Refused(errno, message);
}
