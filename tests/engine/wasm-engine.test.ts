import { createWasmEngine } from '../../dataplane/engine/wasm-engine.ts';
import { describeEngine } from './describe-engine.ts';

describeEngine('wasm', createWasmEngine, {
  'a frame is zero where nothing has been written': 'it is what the last program left there',
  'an offset that leads past the end of 32 bits stops the program': 'a known address wraps around',
  'a callback costs one instruction of the budget': 'it costs none',
  'LD_ABS from the link header': 'negative offsets are not supported',
  'LD_ABS from the network header': 'negative offsets are not supported',
});
