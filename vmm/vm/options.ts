/** The VMM's command line. It survives updates: the new image gets it with the state. */
import { parseArgs } from 'node:util';

import { einval } from '../../platform/errno.ts';
import { MAX_MAPPING } from '../../platform/memory.ts';
import { ACCELS, type Accel, canTranslate } from '../machine/hart-local/hart-local.ts';
import type { VmOptions } from './vm-state.ts';

const UNITS: Readonly<Record<string, number>> = { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };
/** The device tree lies in the last 2 MiB block below the top. */
const LEAST_MEMORY = 4 * 2 ** 20;
const MEMORY_STEP = 2 ** 16;

/** Parses the command line. EINVAL with one line for the user. */
export function parseOptions(args: readonly string[]): VmOptions {
  const { values } = parse(args);
  if (values.kernel === undefined) throw einval('give --kernel ELF');
  const devices = values.device.map(passthroughBdf);
  if (devices.length > 0 && values.host === undefined) throw einval('vfio-pci devices need --host SOCKET');
  if (new Set(devices).size < devices.length) throw einval('a device is given twice');
  const memory = memorySize(values.memory);
  if (values.inject !== undefined && values.inject !== 'wrong-memfd')
    throw einval(`--inject ${values.inject}: unknown`);
  return {
    memory,
    kernel: values.kernel,
    devices,
    ...(values.accel === undefined ? {} : { accel: accelOf(values.accel, memory) }),
    ...(values.host === undefined ? {} : { host: values.host }),
    ...(values.qmp === undefined ? {} : { qmp: values.qmp }),
    ...(values.lifeline === undefined ? {} : { lifeline: fdNumber(values.lifeline) }),
    ...(values.inject === undefined ? {} : { inject: values.inject }),
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        host: { type: 'string' },
        memory: { type: 'string', short: 'm', default: '128M' },
        kernel: { type: 'string' },
        accel: { type: 'string' },
        device: { type: 'string', multiple: true, default: [] },
        qmp: { type: 'string' },
        lifeline: { type: 'string' },
        inject: { type: 'string' },
      },
    });
  } catch (error) {
    throw einval((error as Error).message);
  }
}

function memorySize(text: string): number {
  const match = /^(\d+)([KMG])?$/i.exec(text);
  const size = match ? Number(match[1]) * UNITS[(match[2] ?? 'M').toUpperCase()]! : Number.NaN;
  if (!(size >= LEAST_MEMORY && size <= MAX_MAPPING && size % MEMORY_STEP === 0)) {
    throw einval(`-m ${text}: give a size from 4M to 4G, e.g. 64M`);
  }
  return size;
}

function accelOf(text: string, memory: number): Accel {
  const accel = ACCELS.find((each) => each === text);
  if (!accel) throw einval(`--accel ${text}: give ${ACCELS.join(' or ')}`);
  if (accel === 'jit' && !canTranslate(memory)) throw einval('--accel jit: guest RAM must be less than 4G');
  return accel;
}

function fdNumber(text: string): number {
  if (!/^\d{1,7}$/.test(text)) throw einval(`--lifeline ${text}: give the number of a file descriptor`);
  return Number(text);
}

/** The BDF in `vfio-pci,host=BDF`. */
function passthroughBdf(device: string): string {
  const match = /^vfio-pci,host=([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])$/.exec(device);
  if (!match) throw einval(`--device ${device}: give vfio-pci,host=BDF, e.g. vfio-pci,host=0000:00:02.0`);
  return match[1]!;
}
