import { parentPort } from 'node:worker_threads';

import { workerInput } from '../../../platform/thread.ts';
import type { InitialState, VcpuInput, VcpuMessage } from './protocol.ts';
import { startVcpu } from './start.ts';

const input = workerInput<VcpuInput>();
const port = parentPort!;
const tell = (message: VcpuMessage): void => port.postMessage(message);
port.once('message', (state: InitialState) => startVcpu(input, state, tell));
tell({ kind: 'ready' });
