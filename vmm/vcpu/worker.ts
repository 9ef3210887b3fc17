import { parentPort } from 'node:worker_threads';

import { workerInput } from '../../platform/thread.ts';
import type { VcpuInput, VcpuMessage, VcpuSetup } from './protocol.ts';
import { startVcpu } from './start.ts';

const { shared } = workerInput<VcpuInput>();
const port = parentPort!;
const tell = (message: VcpuMessage): void => port.postMessage(message);
port.once('message', (setup: VcpuSetup) => startVcpu(shared, setup, tell));
