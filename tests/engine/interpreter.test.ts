import { createInterpreter } from '../../dataplane/engine/interpreter.ts';
import { describeEngine } from './describe-engine.ts';

describeEngine('interpreter', createInterpreter);
