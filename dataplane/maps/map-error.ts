/** What a map refuses, with the errno that Linux answers. */
import { XdplabError } from '../errors.ts';
import { ERRNO, type ErrnoName } from './map.ts';

const NAMES = new Map<number, ErrnoName>((Object.keys(ERRNO) as ErrnoName[]).map((name) => [ERRNO[name], name]));

export class MapError extends XdplabError {
  readonly errno: ErrnoName;

  constructor(errno: ErrnoName, message: string) {
    super('ERR_MAP', `${message} (${errno})`);
    this.errno = errno;
  }
}

/** Name of what an operation answered: 0 or negative errno. */
export function errnoName(result: number): ErrnoName | undefined {
  return NAMES.get(-result);
}
