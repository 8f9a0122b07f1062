/**
 * `--user`: this command again as another user, with packet sockets that only root may make. What reads objects and
 * packets, and writes files, then has no rights but that user's, from its first instruction on; this process makes the
 * sockets, waits, and looks at nothing.
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { HANDED_OVER, PacketSocket } from '../devices/packet-socket.ts';
import { XdplabError } from '../errors.ts';

const FAILURE_STATUS = 1;
const FIRST_FD = 3;

interface User {
  readonly home: string;
  readonly uid: number;
  readonly gid: number;
}

/** Runs this command line as `user`, to whom `sockets` packet sockets are handed; its exit status. */
export function runAs(user: string, sockets: number): Promise<number> {
  if (process.getuid?.() !== 0) throw new XdplabError('ERR_PRIVILEGE', `--user ${user}: only root can become another user; run as root, or leave it out`);
  const { uid, gid, home } = userNamed(user);
  const handed = Array.from({ length: sockets }, () => new PacketSocket());
  const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    uid,
    gid,
    stdio: ['inherit', 'inherit', 'inherit', ...handed.map(({ fd }) => fd)],
    env: { ...process.env, HOME: home, [HANDED_OVER]: handed.map((_, index) => FIRST_FD + index).join(',') },
  });
  for (const socket of handed) socket.close();
  // A terminal's Ctrl-C reaches the child by itself.
  process.on('SIGINT', () => {});
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  return new Promise((resolve, reject) => {
    child.on('error', (error) => reject(new XdplabError('ERR_PRIVILEGE', `--user ${user}: this command cannot be started as that user (${error.message}); it must be able to read Node and xdplab`)));
    child.on('close', (status) => resolve(status ?? FAILURE_STATUS));
  });
}

/** By name or number, from /etc/passwd. */
function userNamed(name: string): User {
  for (const line of readFileSync('/etc/passwd', 'utf8').split('\n')) {
    const [login, , uid, gid, , home = '/'] = line.split(':');
    if (uid !== undefined && (login === name || uid === name)) return { uid: Number(uid), gid: Number(gid), home };
  }
  throw new XdplabError('ERR_USAGE', `--user ${name}: there is no such user in /etc/passwd`);
}
