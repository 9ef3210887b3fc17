/**
 * One hart on a thread of its own: its local part, and a way to everything else. It reaches the
 * registers of the harts by itself, and all devices through the owner (shared/far-access.ts).
 */
import type { SharedPart } from '../../platform/shared.ts';
import { int32s } from '../../platform/shared.ts';
import { hartCount } from './control/control-block.ts';
import { HartLocal, type HartLocalOptions, type Surroundings } from './hart-local/hart-local.ts';
import { hartNumbers } from './hart-local/hart-number.ts';
import { Imsic } from './hart-local/imsic.ts';
import { Timer } from './hart-local/timer.ts';
import { SystemBus } from './shared/bus.ts';
import { Clock } from './shared/clock.ts';
import { mapHartRegisters } from './shared/hart-registers.ts';
import { RAM_BASE } from './shared/memory-map.ts';

export interface FarHartOptions
  extends Pick<HartLocalOptions, 'number' | 'accel' | 'translator' | 'aia' | 'semihosting'> {
  readonly ram: Omit<HartLocalOptions['ram'], 'base'>;
  readonly control: SharedPart;
  readonly imsic: SharedPart;
  /** The owner's devices. */
  readonly far: Surroundings;
}

export function farHart({ number, ram, accel, translator, control, imsic, ...machine }: FarHartOptions): HartLocal {
  const { aia, far, semihosting } = machine;
  const clock = new Clock(control);
  const mtime = (): bigint => clock.now();
  const lines = int32s(control);
  const bus = new SystemBus();
  const harts = hartNumbers(hartCount(control)).map((hart) => ({
    timer: new Timer(control, hart, mtime),
    imsic: new Imsic(imsic, lines, hart),
  }));
  mapHartRegisters(bus, { control, clock, harts, aia });
  return new HartLocal({
    number,
    ram: { ...ram, base: RAM_BASE },
    ...(accel ? { accel } : {}),
    translator,
    control,
    imsic,
    aia,
    surroundings: {
      load: (gpa, size) => (bus.covers(gpa, size) ? bus : far).load(gpa, size),
      store: (gpa, size, value, by) => (bus.covers(gpa, size) ? bus : far).store(gpa, size, value, by),
    },
    semihosting,
    mtime,
  });
}
