import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { int32s } from '../../../platform/shared.ts';
import { Vitals } from '../../../vmm/crew/vitals.ts';
import { lastState } from '../../../vmm/live-update/standby/last-state.ts';
import { IMSIC_SECTION, Imsic, type ImsicState, pendingIn } from '../../../vmm/machine/hart-local/imsic.ts';
import { RESET_FILE } from '../../../vmm/machine/hart-local/imsic-file.ts';
import { interruptTarget } from '../../../vmm/machine/hart-local/interrupt-target.ts';
import { InterruptRoutes } from '../../../vmm/machine/shared/interrupt-routes.ts';

const HARTS = 2;
const RAM = new SharedArrayBuffer(4096);

let vitals: Vitals;

beforeEach(() => {
  vitals = Vitals.create(HARTS);
});
afterEach(() => vitals.release());

const section = (hart: number) => IMSIC_SECTION.numbered(hart);

/** The interrupt files from which a guest goes on that began with these. */
function filesAfter(...saved: readonly ImsicState[]): readonly ImsicState[] {
  const sections = new Map(saved.map((files, hart) => [section(hart).name, files]));
  const { state } = lastState({ completeNs: 0, sections }, vitals, RAM, false);
  return saved.map((_, hart) => section(hart).decode(state.sections.get(section(hart).name)!));
}

/** An image that has died before its guest ran: what it began with holds. */
describe('the state of a VMM that has run nothing', () => {
  it('has what was pending, and what the process took from eventfds since, of both levels', () => {
    const saved = IMSIC_SECTION.of({
      ...RESET_FILE,
      pending: [2, 0, 0, 0, 0, 0, 0, 0],
      supervisor: { ...RESET_FILE, threshold: 9, pending: [4, 0, 0, 0, 0, 0, 0, 0] },
    });
    const imsic = new Imsic(vitals.shared.imsic, int32s(vitals.shared.control), 0);
    imsic.receive(interruptTarget(0, 33, 'supervisor'));
    imsic.receive(interruptTarget(0, 3));
    const [files] = filesAfter(saved, IMSIC_SECTION.of(RESET_FILE));
    expect(pendingIn(files!)).toEqual({
      machine: [2 | 8, 0, 0, 0, 0, 0, 0, 0],
      supervisor: [4, 2, 0, 0, 0, 0, 0, 0],
    });
    expect(files!.supervisor?.threshold).toBe(9);
  });

  it('has the interrupt that the process had in its hand', () => {
    const routes = new InterruptRoutes(vitals.shared.routes);
    routes.add({ eventfd: 3, slot: 1, identity: interruptTarget(1, 40, 'supervisor'), delivered: 0 });
    routes.pickUp(0);
    const reset = IMSIC_SECTION.of(RESET_FILE);
    const [first, second] = filesAfter(reset, reset);
    expect([first, pendingIn(second!).supervisor[1]]).toEqual([reset, 1 << 8]);
  });
});
