import { parentPort } from 'node:worker_threads';

import { workerInput } from '../../platform/thread.ts';
import type { DeviceWorkerData } from '../kit/protocol.ts';
import { runDevice } from '../kit/run-device.ts';
import { pciTestdev } from './device.ts';

runDevice(pciTestdev, workerInput<DeviceWorkerData>(), (message) => parentPort?.postMessage(message));
