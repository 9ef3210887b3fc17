import { parentPort } from 'node:worker_threads';

import { workerInput } from '../../platform/thread.ts';
import type { DeviceWorkerData } from '../kit/protocol.ts';
import { runDevice } from '../kit/run-device.ts';
import { mscribe } from './device.ts';

runDevice(mscribe, workerInput<DeviceWorkerData>(), (message) => parentPort?.postMessage(message));
