/** A client's questions to the host about itself. The recorder read /proc instead. */
import type { HostInfo } from '../../../iommu/abi/control.ts';
import { CONTROL_PATH } from '../../../iommu/abi/wire.ts';
import type { ClientKernel } from './client-kernel.ts';

export function askHost(kernel: ClientKernel): HostInfo {
  return withControl(kernel, (control) => kernel.control(control, { op: 'info' }));
}

/**
 * VmLck of this process in pages. It is below 0 when the emulated kernel has let it underflow
 * (ACC-5).
 */
export function lockedPages(kernel: ClientKernel): number {
  return askHost(kernel).clients.find(({ pid }) => pid === process.pid)?.lockedPages ?? 0;
}

/** Sets parameters of vfio_iommu_type1. */
export function setParameters(kernel: ClientKernel, parameters: Readonly<Record<string, string>>): void {
  withControl(kernel, (control) => {
    for (const [name, value] of Object.entries(parameters)) {
      kernel.control(control, { op: 'set-parameter', name, value });
    }
  });
}

/** Opens the control device, uses it and closes it at once, because it is no fd of the script. */
function withControl<T>(kernel: ClientKernel, use: (control: number) => T): T {
  const control = kernel.open(CONTROL_PATH);
  try {
    return use(control);
  } finally {
    kernel.close(control);
  }
}
