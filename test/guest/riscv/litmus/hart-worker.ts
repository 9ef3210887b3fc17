/** A worker entry: runs one hart on shared RAM, one program after the other, each until its WFI. */
import { parentPort } from 'node:worker_threads';

import { Hart } from '../../../../guest/riscv/hart.ts';
import { Translator } from '../../../../guest/riscv/translate/translator.ts';
import { workerInput } from '../../../../platform/thread.ts';
import { emptyBus, RAM_BASE } from '../fixture.ts';
import type { HartInput, HartTask } from './harts.ts';

/** Code is translated in its first rounds. */
const HOT = 200;
/** No hart here is given a journal. */
const NONE = 0;

const { memory, ramSize, workspace } = workerInput<HartInput>();
const executor =
  workspace === undefined
    ? undefined
    : new Translator({ memory, at: workspace, journal: NONE }, { hot: HOT, first: 0 });
const hart = new Hart(
  {
    ...{ hartId: 0, ram: memory.buffer as unknown as SharedArrayBuffer, ramBase: RAM_BASE, ramSize, bus: emptyBus },
    ...{ lines: new Int32Array(new SharedArrayBuffer(4)), lineIndex: 0, time: () => 0n },
  },
  executor,
);

parentPort!.on('message', ({ pc, registers }: HartTask) => {
  hart.reset(pc, 0n, 0n);
  const state = hart.save();
  const x = [...state.x];
  for (const [register, value] of Object.entries(registers)) x[Number(register) - 1] = BigInt(value);
  hart.restore({ ...state, x });
  while (hart.run(1 << 20) !== 'wfi');
  parentPort!.postMessage('done');
});
parentPort!.postMessage('ready');
