/**
 * The entry of every device worker. It runs the device of the folder that its data names
 * (docs/DESIGN.md, "Devices").
 */
import { parentPort } from 'node:worker_threads';

import { workerInput } from '../../platform/thread.ts';
import type { DeviceModule } from './device.ts';
import type { DeviceWorkerData } from './protocol.ts';
import { runDevice } from './run-device.ts';

const data = workerInput<DeviceWorkerData>();
// The bundler finds all files of this pattern, so the built worker holds every device and reads no
// second file.
void (import(`../${data.folder}/device.ts`) as Promise<DeviceModule>).then(({ device }) =>
  runDevice(device, data, (message) => parentPort?.postMessage(message)),
);
