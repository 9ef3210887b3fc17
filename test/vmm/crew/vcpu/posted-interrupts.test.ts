import { beforeEach, describe, expect, it } from 'vitest';

import { postInterrupt } from '../../../../iommu/bus/posted-interrupts.ts';
import { int32s, newPart, type SharedPart } from '../../../../platform/shared.ts';
import { PostedInterrupts } from '../../../../vmm/crew/vcpu/posted-interrupts.ts';
import { controlBytes, hartWords } from '../../../../vmm/machine/control/control-block.ts';
import { Imsic, imsicBytes } from '../../../../vmm/machine/hart-local/imsic.ts';
import { interruptTarget } from '../../../../vmm/machine/hart-local/interrupt-target.ts';
import { INTERRUPT_ROUTES_BYTES, InterruptRoutes } from '../../../../vmm/machine/shared/interrupt-routes.ts';

const HARTS = 2;

let control: SharedPart;
let imsic: SharedPart;
let routes: InterruptRoutes;
let pages: SharedPart[];
let posted: PostedInterrupts;
/** Of the guest to the first device. */
let accesses: number;

/** Two devices with a vector each; the second one’s goes to the S-level file of hart 1. */
beforeEach(() => {
  accesses = 0;
  control = newPart(controlBytes(HARTS));
  imsic = newPart(imsicBytes(HARTS));
  routes = new InterruptRoutes(newPart(INTERRUPT_ROUTES_BYTES));
  routes.add({ eventfd: 10, slot: 0, identity: interruptTarget(0, 5), delivered: 100 });
  routes.add({ eventfd: 11, slot: 1, identity: interruptTarget(1, 40, 'supervisor'), delivered: 0 });
  pages = [newPart(4096), newPart(4096)];
  posted = build(2);
});

function build(cpus: number): PostedInterrupts {
  return new PostedInterrupts({
    devices: [
      {
        page: pages[0],
        routes: [0],
        get accesses() {
          return accesses;
        },
      },
      { page: undefined, routes: [], accesses: 0 },
      { page: pages[1], routes: [1], accesses: 0 },
    ],
    routes,
    control: int32s(control),
    imsic,
    harts: HARTS,
    cpus,
    sleeps: false,
  });
}

/** Signals of the eventfd that are due. */
const post = (page: number, vector = 0): number => postInterrupt(int32s(pages[page]!), 0, vector, () => {});
const pending = (hart: number): readonly number[] => new Imsic(imsic, int32s(control), hart).save().pending;
const wakes = (hart: number): number => int32s(control)[hartWords(hart).wake]!;

describe('interrupts that are posted', () => {
  it('signal eventfds until the vCPU runs, and when it rests', () => {
    const before = post(0);
    posted.begin();
    const meanwhile = post(0);
    posted.rest();

    expect([before, meanwhile, post(0)]).toEqual([1, 0, 1]);
  });

  it('are pending in the interrupt file of the route’s hart, which is woken, when the vCPU looks', () => {
    posted.begin();
    post(0);
    post(1);
    posted.poll();

    const { supervisor } = new Imsic(imsic, int32s(control), 1);
    expect([pending(0)[0], supervisor.save().pending[1]]).toEqual([1 << 5, 1 << 8]);
    expect([wakes(1) > 0, routes.save().map(({ delivered }) => delivered)]).toEqual([true, [101, 1]]);
  });

  it('keep a vCPU from its sleep that come just before', () => {
    posted.begin();
    post(0);

    expect([posted.rest(), posted.rest(), pending(0)[0]]).toEqual([true, false, 1 << 5]);
  });

  it('signal eventfds in the sleep of a vCPU that no other process can wake', () => {
    posted.begin();
    const sleep = posted.sleep();

    expect([sleep, post(0)]).toEqual([false, 1]);
  });

  it('are left to the worker by a vCPU that rests', () => {
    posted.begin();
    posted.rest();
    const words = int32s(pages[0]!);
    words[32] = 1; // counts[0]
    words[16] = 1; // posted: a worker that will take it back
    posted.poll();

    expect(pending(0)[0]).toBe(0);
  });

  it('of a vector without route are dropped', () => {
    posted.begin();
    post(0, 7);
    posted.poll();

    expect(pending(0).every((word) => word === 0)).toBe(true);
  });
});

describe('a vCPU that would sleep', () => {
  const never = (): boolean => false;

  it('looks for the interrupt of a device that the guest has just accessed', () => {
    posted.begin();
    accesses++;
    const { now } = performance;
    performance.now = () => {
      post(0);
      return now.call(performance);
    };
    const caught = posted.linger(1000, never);
    performance.now = now;

    expect([caught, pending(0)[0], posted.rest()]).toEqual([true, 1 << 5, false]);
  });

  it('does not look when the guest has accessed nothing, or is wanted elsewhere', () => {
    posted.begin();
    const idle = posted.linger(1000, () => {
      throw new Error('it looks');
    });
    accesses++;

    expect([idle, posted.linger(1000, () => true)]).toEqual([false, false]);
  });

  it('looks less and less often where no interrupt comes', () => {
    posted.begin();
    const looked = Array.from({ length: 12 }, () => {
      let looks = 0;
      accesses++;
      posted.linger(1000, () => {
        looks++;
        return false;
      });
      return looks > 0;
    });

    expect(looked.map(Number).join('')).toBe('101000100000');
  });

  it('does not look on a machine with one CPU, and takes nothing when it rests', () => {
    posted = build(1);
    posted.begin();
    accesses++;
    post(0);

    expect([posted.linger(1000, never), posted.rest(), posted.linger(1000, never)]).toEqual([false, true, false]);
  });
});
