import { parentPort } from 'node:worker_threads';

import { newPart } from '../../../platform/shared.ts';
import { workerInput } from '../../../platform/thread.ts';
import { optimizeLate } from '../../../platform/wasm-tiers.ts';
import { hartCount, OWNER_HART } from '../../machine/control/control-block.ts';
import { preparedTranslator } from '../../machine/hart-local/hart-local.ts';
import type { MachineState } from '../../machine/machine.ts';
import { RAM_BASE } from '../../machine/shared/memory-map.ts';
import { runLentHart } from './lent-hart.ts';
import type { InitialState, VcpuInput, VcpuMessage } from './protocol.ts';
import { Rehearsal } from './rehearsal.ts';
import { startVcpu, vcpuOfThread } from './start.ts';
import { STOPPED_STATE_BYTES, StoppedState } from './stopped-state.ts';
import type { Vcpu } from './vcpu.ts';

const input = workerInput<VcpuInput>();
const port = parentPort!;
const tell = (message: VcpuMessage): void => port.postMessage(message);
if (input.hart === OWNER_HART) {
  const { ram, accel } = input.parts;
  const translator = preparedTranslator(OWNER_HART, { ...ram, base: RAM_BASE }, accel); // main runs the guest meanwhile
  const build = (): Vcpu => vcpuOfThread(input, translator, tell);
  const built = input.ahead ? buildAhead(build) : undefined;
  port.once('message', (state: InitialState) => {
    optimizeLate(); // not before: the thread was loaded from its code cache under V8's usual options
    startVcpu(input, () => (built ?? build()).begin(state), tell);
  });
  tell({ kind: 'ready' });
} else runLentHart(input.shared, input.hart, input.parts);

function buildAhead(build: () => Vcpu): Vcpu {
  const stopped = new StoppedState(newPart(STOPPED_STATE_BYTES));
  const stop = (state: MachineState): boolean => stopped.put(0, { atNs: 0, state });
  new Rehearsal(input.parts, hartCount(input.shared.control), stop).go();
  return build();
}
