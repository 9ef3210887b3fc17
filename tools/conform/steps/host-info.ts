/** A client's questions to the host about itself. The recorder read /proc instead. */
import type { HostInfo } from '../../../iommu/abi/control.ts';
import { CONTROL_PATH } from '../../../iommu/abi/wire.ts';
import type { HostControl } from './process-calls.ts';

export function askHost(host: HostControl): HostInfo {
  return withControl(host, (control) => host.control(control, { op: 'info' }));
}

/**
 * VmLck of process `pid` in pages. It is below 0 when the emulated kernel has let it underflow
 * (ACC-5).
 */
export function lockedPages(host: HostControl, pid: number): number {
  return askHost(host).clients.find((client) => client.pid === pid)?.lockedPages ?? 0;
}

/** Sets parameters of vfio_iommu_type1. */
export function setParameters(host: HostControl, parameters: Readonly<Record<string, string>>): void {
  withControl(host, (control) => {
    for (const [name, value] of Object.entries(parameters)) {
      host.control(control, { op: 'set-parameter', name, value });
    }
  });
}

/** Opens the control device, uses it and closes it at once, because it is no fd of the script. */
function withControl<T>(host: HostControl, use: (control: number) => T): T {
  const control = host.open(CONTROL_PATH);
  try {
    return use(control);
  } finally {
    host.close(control);
  }
}
