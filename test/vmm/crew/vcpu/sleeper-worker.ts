/** A thread that sleeps as a vCPU does in WFI, until it is told to end. */
import { parentPort } from 'node:worker_threads';

import { InterruptPageClient } from '../../../../iommu/abi/interrupt-page.ts';
import { int32s, type SharedPart } from '../../../../platform/shared.ts';
import { workerInput } from '../../../../platform/thread.ts';
import { Sleeper } from '../../../../vmm/crew/vcpu/sleeper.ts';
import { hartWords } from '../../../../vmm/machine/control/control-block.ts';

export interface SleeperInput {
  readonly control: SharedPart;
  readonly page: SharedPart;
  /** Its sleeps. */
  readonly rounds: number;
}

const { control, page, rounds } = workerInput<SleeperInput>();
const words = int32s(control);
const client = new InterruptPageClient(page);
const sleeper = new Sleeper(words, [page]);
parentPort!.postMessage({ usable: sleeper.usable() });
for (let round = 0; round < rounds && sleeper.usable(); round++) {
  const seen = Atomics.load(words, hartWords(0).wake);
  client.sleep();
  sleeper.sleep(seen, 60_000);
  parentPort!.postMessage('awake');
}
