/**
 * Opens /dev/livevmm until it is refused, says how often and with which errno, and keeps what it
 * has.
 */
import { CONTROL_PATH } from '../../../iommu/abi/wire.ts';
import { kernel, say, wait } from './script.ts';

for (let opened = 0; ; opened++) {
  try {
    kernel.open(CONTROL_PATH);
  } catch (error) {
    say({ opened, code: (error as { code: string }).code });
    break;
  }
}
wait();
