import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { EFD_NONBLOCK, eventfd, eventfdSignal } from '../../../../platform/libc/eventfd.ts';
import { close } from '../../../../platform/libc/fd.ts';
import { Intx, type IntxAccess } from '../../../../vmm/machine/shared/intx.ts';

/** A device whose line is up while `asserts`, behind a kernel that masks it when it has fired. */
class FakeLine implements IntxAccess {
  asserts = false;
  masked = true;
  calls: string[] = [];
  #eventfd = -1;

  fire(): void {
    if (!this.asserts || this.masked) return;
    this.masked = true;
    eventfdSignal(this.#eventfd);
  }

  raise(): void {
    this.asserts = true;
    this.fire();
  }

  armIntx(fd: number): void {
    this.calls.push('arm');
    this.#eventfd = fd;
    this.unmaskIntx();
  }

  disarmIntx(): void {
    this.calls.push('disarm');
    this.masked = true;
  }

  unmaskIntx(): void {
    this.calls.push('unmask');
    this.masked = false;
    this.fire();
  }
}

let fd: number;
let device: FakeLine;
let intx: Intx;
let levels: boolean[];

function newIntx(): Intx {
  const made = new Intx(fd, device);
  levels = [];
  made.connect((up) => levels.push(up));
  return made;
}

beforeEach(() => {
  fd = eventfd(0, EFD_NONBLOCK);
  device = new FakeLine();
  intx = newIntx();
  intx.arm();
  levels = [];
});
afterEach(() => close(fd));

describe('INTx of a passed-through device', () => {
  it('is up from its interrupt to the completion', () => {
    device.raise();
    intx.update();
    device.asserts = false;
    intx.completed();
    intx.update();
    expect(levels).toEqual([true, false]);
  });

  it('is up again at once while the device asserts it', () => {
    device.raise();
    intx.update();
    intx.completed();
    expect(levels).toEqual([true, false, true]);
  });

  it('asks nothing of the kernel for completions of others on the line', () => {
    device.calls = [];
    intx.completed();
    expect([device.calls, levels]).toEqual([[], []]);
  });

  it('is down, and signals nothing, while the device has messages', () => {
    device.raise();
    intx.update();
    intx.disarm();
    intx.update();
    expect(levels).toEqual([true, false]);
    intx.arm();
    intx.update();
    expect(levels.at(-1)).toBe(true); // the device asserts it still
  });

  it('is down for good when the device has been given back', () => {
    device.raise();
    intx.update();
    device.calls = [];
    intx.remove();
    intx.completed();
    eventfdSignal(fd);
    intx.update();
    expect([device.calls, levels]).toEqual([[], [true, false]]);
  });

  it('goes on in another image, whether it was up, had come, or comes', () => {
    device.raise();
    intx.update();
    const next = newIntx();
    next.resume(true);
    next.settle();
    expect(levels).toEqual([false, true]);
    device.asserts = false;
    next.completed();
    device.raise();
    intx = newIntx();
    intx.resume(true);
    intx.settle();
    expect(levels).toEqual([false, true]);
  });
});
