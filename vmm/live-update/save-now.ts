/**
 * The state of a guest that is not being updated, for people to look at (`livevmm state --qmp`).
 */
import { ebusy } from '../../platform/errno.ts';
import type { Vm } from '../vm/vm.ts';
import { encodeState } from './state-file.ts';
import { saveAtRest } from './survivors.ts';

/**
 * Stops the guest for some milliseconds and saves it. The result is a state file without the
 * sections that exist only for an update (`update`, `monitor`): it can be read and compared, and no
 * image can be resumed from it. EBUSY: the VM is ending. ETIMEDOUT: a thread does not stop.
 */
export function saveNow(vm: Vm): Promise<Uint8Array> {
  return vm.change(async () => {
    if (vm.runState === 'shutdown') throw ebusy('the VM is ending');
    const { console } = vm.parts;
    const stopped = await vm.quiesce();
    try {
      console.pause();
      return encodeState(saveAtRest({ vm, machine: stopped.state() }));
    } finally {
      console.refill();
      await vm.unquiesce();
    }
  });
}
