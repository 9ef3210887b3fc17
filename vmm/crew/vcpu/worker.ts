import { parentPort } from 'node:worker_threads';

import { workerInput } from '../../../platform/thread.ts';
import { OWNER_HART } from '../../machine/control/control-block.ts';
import { runLentHart } from './lent-hart.ts';
import type { InitialState, VcpuInput, VcpuMessage } from './protocol.ts';
import { startVcpu } from './start.ts';

const input = workerInput<VcpuInput>();
const port = parentPort!;
const tell = (message: VcpuMessage): void => port.postMessage(message);
if (input.hart === OWNER_HART) {
  port.once('message', (state: InitialState) => startVcpu(input, state, tell));
  tell({ kind: 'ready' });
} else runLentHart(input.shared, input.hart, input.parts);
