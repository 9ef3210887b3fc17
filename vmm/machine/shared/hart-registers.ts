/**
 * The registers of the harts on the bus: the CLINT, and with AIA the interrupt files. Their values
 * lie in shared words, so each hart's thread reaches them by itself, with its own views.
 */
import type { SharedPart } from '../../../platform/shared.ts';
import { int32s } from '../../../platform/shared.ts';
import { wakeHart } from '../control/lease.ts';
import type { Imsic } from '../hart-local/imsic.ts';
import { LEVELS } from '../hart-local/interrupt-target.ts';
import type { Timer } from '../hart-local/timer.ts';
import type { SystemBus } from './bus.ts';
import { Clint } from './clint.ts';
import type { MachineClock } from './clock.ts';
import { ImsicPage } from './imsic-page.ts';
import { CLINT, imsicPage } from './memory-map.ts';

/** The parts of a hart that its registers on the bus show. */
export interface OnTheBus {
  readonly timer: Timer;
  readonly imsic: Imsic;
}

export interface HartRegisters {
  readonly control: SharedPart;
  readonly clock: MachineClock;
  /** All harts of the machine. */
  readonly harts: readonly OnTheBus[];
  /** Whether there are interrupt files. */
  readonly aia: boolean;
}

/** Puts the registers onto a bus. */
export function mapHartRegisters(bus: SystemBus, { control, clock, harts, aia }: HartRegisters): Clint {
  const words = int32s(control);
  const wake = (hart: number): void => wakeHart(words, hart);
  const clint = new Clint({ clock, timers: harts.map(({ timer }) => timer), wake });
  bus.map(CLINT, clint);
  if (!aia) return clint;
  harts.forEach(({ imsic }, hart) => {
    const stored = (by: number): void => {
      if (by !== hart) wake(hart);
    };
    for (const level of LEVELS) bus.map(imsicPage(hart, level), new ImsicPage(imsic[level], stored));
  });
  return clint;
}
