/**
 * A vCPU on a thread of its own. The thread sleeps in two places. While it is stopped, it sleeps on
 * `request`, and main's next request wakes it. In WFI it sleeps on `wake`: wakeHart wakes it (a
 * line was raised, a request or input came), a device with an interrupt (sleeper.ts), or the
 * guest's timer when that is due. Both sleeps are bounded.
 */
import { int32s, type SharedPart } from '../../../platform/shared.ts';
import { hartWords, OWNER_HART } from '../../machine/control/control-block.ts';
import type { Vcpu } from './vcpu.ts';

const LONGEST_STOP_MS = 1000;

/** Returns when main requests EXIT. */
export function runVcpu(vcpu: Vcpu, control: SharedPart): void {
  const { request } = hartWords(OWNER_HART);
  const words = int32s(control);
  for (;;) {
    const rest = vcpu.turn();
    switch (rest.kind) {
      case 'wfi':
        vcpu.wait(rest.seen, rest.ms);
        break;
      case 'stopped':
        Atomics.wait(words, request, rest.request, LONGEST_STOP_MS);
        break;
      case 'exit':
        return;
    }
  }
}
