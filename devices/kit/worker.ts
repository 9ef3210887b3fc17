/**
 * The entry of every device worker. When the board gives it its data, it runs the device of the
 * folder that the data names (docs/DESIGN.md, "Devices").
 */
import { parentPort } from 'node:worker_threads';

import type { DeviceModule } from './device.ts';
import type { DeviceWorkerData } from './protocol.ts';
import { runDevice } from './run-device.ts';

const port = parentPort!;
port.once('message', async (data: DeviceWorkerData) => {
  // The bundler finds all files of this pattern, so the built worker holds every device and reads
  // no second file.
  const { device } = (await import(`../${data.folder}/device.ts`)) as DeviceModule;
  runDevice(device, data, (message) => port.postMessage(message));
});
