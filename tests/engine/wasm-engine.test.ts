import { createWasmEngine } from '../../dataplane/engine/wasm-engine.ts';
import { describeEngine } from './describe-engine.ts';

describeEngine('wasm', createWasmEngine);
