/** A live run as the server keeps it: begun, told of, stopped. */
import { expect, test } from 'vitest';
import { XdplabError } from '../../dataplane/errors.ts';
import { InterfaceRun, type RunFacts } from '../../dataplane/server/interface-run.ts';
import type { RunDescription } from '../../dataplane/server/open-run.ts';

class Run extends InterfaceRun {
  isOpen = true;
  isReadable = false;

  protected async run(signal: AbortSignal): Promise<object> {
    if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    this.isOpen = false;
    return {};
  }

  protected facts(): RunFacts {
    if (!this.isReadable) {
      this.isReadable = true;
      throw new XdplabError('ERR_DEVICE', 'left: cannot be read');
    }
    return { packets: 0, bytes: 0, elapsedNs: 0, busyNs: 0 };
  }
}

test('a run whose state cannot be read when it begins has failed, and what it had open is closed', async () => {
  const told: RunDescription[] = [];
  const run = new Run({ id: '1', interface: 'left' }, (description) => told.push(description));
  await expect.poll(() => run.ended).toBe(true);
  expect(run.isOpen).toBe(false);
  expect(told).toMatchObject([{ state: 'failed', error: 'left: cannot be read' }]);
});
