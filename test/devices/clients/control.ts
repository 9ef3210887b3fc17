/**
 * Asks the control device. argv: socket, requests as JSON; says the answer or the error to each.
 */
import type { ControlRequest } from '../../../iommu/abi/control.ts';
import { SysError } from '../../../platform/errno.ts';
import { ControlFile } from '../../../vmm/client/control.ts';
import { kernel, say } from './script.ts';

const control = new ControlFile(kernel);
for (const request of process.argv.slice(3)) {
  try {
    say(control.ask(JSON.parse(request) as ControlRequest));
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    say({ code: error.code, message: error.message });
  }
}
