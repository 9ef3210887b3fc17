import { parentPort } from 'node:worker_threads';

import { workerInput } from '../../../platform/thread.ts';
import { kvemuRead } from '../../../vmm/client/drivers/kvemu.ts';
import { KernelClient } from '../../../vmm/client/kernel-client.ts';
import type { SleeperAnswer, SleeperInput, SleeperRequest } from './protocol.ts';

const { socketPath, device } = workerInput<SleeperInput>();
const client = new KernelClient(socketPath);
parentPort!.on('message', ({ iova }: SleeperRequest) => {
  kvemuRead(client, device, iova, 1);
  const answer: SleeperAnswer = { wokenMs: Number(process.hrtime.bigint()) / 1e6 };
  parentPort!.postMessage(answer);
});
