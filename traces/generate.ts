/**
 * `npm run traces`: without arguments writes the captures of the catalogue again, with `--out` a capture of any
 * length from one profile. Run from dist/, where the compiler puts it.
 */
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { runScript, wholeFrom1 } from '../dataplane/cli/script.ts';
import { XdplabError } from '../dataplane/errors.ts';
import { CATALOGUE } from './catalogue.ts';
import { FRAME_SIZES, PROFILES } from './profiles.ts';
import type { FrameSize, ProfileName } from './profiles.ts';
import { writeTrace } from './write-trace.ts';

const USAGE = `usage: npm run traces [-- --out <file> [options]]

Without --out: writes the captures of traces/ again.

  --out <file>       a capture by its name: .pcap, .pcapng, .pcap.gz
  --profile <name>   ${Object.keys(PROFILES).join(', ')} (mixed)
  --packets <n>      how many (1000000)
  --flows <n>        conversations they are shared among, by Zipf's law (1024)
  --size <n|name>    bytes of a frame without its checksum, or ${Object.keys(FRAME_SIZES).join(', ')} (64);
                     frames are longer where their headers are
  --pps <n>          packets per second of the trace's clock (1000000)
  --seed <n>         (1)
  --answers          what is sent back too
`;

/** dist/traces/generate.js → traces/. */
const SOURCE_FOLDER = fileURLToPath(new URL('../../traces/', import.meta.url));

function main(): void {
  const { values } = parseArgs({
    options: {
      out: { type: 'string' },
      profile: { type: 'string', default: 'mixed' },
      packets: { type: 'string', default: '1000000' },
      flows: { type: 'string', default: '1024' },
      size: { type: 'string', default: '64' },
      pps: { type: 'string', default: '1000000' },
      seed: { type: 'string', default: '1' },
      answers: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
  } else if (values.out === undefined) {
    for (const { file, packets, interfaces } of CATALOGUE) {
      const written = writeTrace(join(SOURCE_FOLDER, file), packets(), interfaces);
      process.stdout.write(`traces/${file}: ${written} packets\n`);
    }
  } else {
    const stream = PROFILES[profileName(values.profile)]({
      packets: wholeFrom1('--packets', values.packets),
      flows: wholeFrom1('--flows', values.flows),
      size: frameSize(values.size),
      gapNs: Math.max(1, Math.floor(1e9 / wholeFrom1('--pps', values.pps))),
      seed: wholeFrom1('--seed', values.seed),
      answers: values.answers,
    });
    const written = writeTrace(values.out, stream);
    process.stdout.write(`${values.out}: ${written} packets\n`);
  }
}

function profileName(text: string): ProfileName {
  if (Object.hasOwn(PROFILES, text)) return text as ProfileName;
  throw new XdplabError('ERR_USAGE', `--profile: found "${text}", expected one of ${Object.keys(PROFILES).join(', ')}`);
}

const LARGEST_FRAME = 65_535;

function frameSize(text: string): FrameSize {
  if (Object.hasOwn(FRAME_SIZES, text)) return text as FrameSize;
  const size = wholeFrom1('--size', text);
  if (size > LARGEST_FRAME)
    throw new XdplabError('ERR_USAGE', `--size: found ${size}, expected at most ${LARGEST_FRAME}`);
  return size;
}

await runScript(main);
