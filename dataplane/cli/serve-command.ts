/** The command that opens to a browser what another command has just run. */
import type { LabFlags } from './lab-options.ts';

export function serveCommand(capture: string, flags: LabFlags): string {
  const options: (readonly [string, string])[] = [
    ...(flags.lab === undefined ? [] : [['--lab', flags.lab] as const]),
    ...(['xdp', 'tcIngress', 'tcEgress'] as const).flatMap((hook) => flags[hook].map((program) => [`--${hook.replace(/[A-Z]/, (letter) => `-${letter.toLowerCase()}`)}`, program] as const)),
    ...flags.map.map(({ map, file }) => ['--map', `${map}=${file}`] as const),
    ...(flags.verify ? [] : [['--no-verify', ''] as const]),
    ['--capture', capture],
  ];
  return `npx xdplab serve ${options.map(([name, value]) => (value === '' ? name : `${name} ${quoted(value)}`)).join(' ')}`;
}

/** As a shell reads it. */
function quoted(word: string): string {
  return /^[\w./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}
