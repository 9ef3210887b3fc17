import { beforeEach, describe, expect, it } from 'vitest';

import { newPart, type SharedPart, wholeOf } from '../../../platform/shared.ts';
import { Publication } from '../../../vmm/crew/publication.ts';
import { type Given, type Recovered, recover } from '../../../vmm/crew/recovery.ts';
import type { VcpuMessage } from '../../../vmm/crew/vcpu/protocol.ts';
import { buildVcpu } from '../../../vmm/crew/vcpu/start.ts';
import { VcpuThread } from '../../../vmm/crew/vcpu/thread.ts';
import type { Vcpu } from '../../../vmm/crew/vcpu/vcpu.ts';
import { createVmShared, type VmShared } from '../../../vmm/crew/vm-shared.ts';
import { REQUEST_RESET, REQUEST_RUN, REQUEST_STOP } from '../../../vmm/machine/control/control-block.ts';
import { interruptTarget } from '../../../vmm/machine/hart-local/interrupt-target.ts';
import { Journal, readJournal } from '../../../vmm/machine/hart-local/journal.ts';
import { ConsoleInput } from '../../../vmm/machine/shared/console-input.ts';
import { InterruptRoutes } from '../../../vmm/machine/shared/interrupt-routes.ts';
import { CLINT, IMSIC, PCIE_ECAM, PCIE_MMIO32, RAM_BASE } from '../../../vmm/machine/shared/memory-map.ts';
import { storesIn } from '../../guest/riscv/ring-journal.ts';

/** lui a0, 0x2004 (mtimecmp) · ld a2, 0(a0) · addi a1, a1, 1 · j -8 */
const LOADS_A_REGISTER = [0x02004537, 0x00053603, 0x00158593, 0xff9ff06f];
/** addi a1, a1, 1 · j -4 */
const COUNTS = [0x00158593, 0xffdff06f];
/** lui a0, 0x100 · lui a1, 0x7 · addi a1, a1, 0x777 · sw a1, 0(a0) · j . */
const RESETS = [0x00100537, 0x000075b7, 0x77758593, 0x00b52023, 0x0000006f];
const A1 = 10;

let shared: VmShared;
let main: VcpuThread;
let ram: SharedArrayBuffer;
let said: VcpuMessage[];
let publication: Publication;

beforeEach(() => {
  use(createVmShared(1));
  ram = new SharedArrayBuffer(4 << 20);
  said = [];
});

function use(memory: VmShared): void {
  shared = memory;
  main = new VcpuThread(shared);
  publication = new Publication(shared.publication);
}

/** The boot ROM lies outside RAM, so each of its instructions is a slice while publishing. */
const BOOT_TURNS = 20;

/** A vCPU after a reset, whose guest is about to run. */
function vcpuWith(guest: readonly number[]): Vcpu {
  const vcpu = buildVcpu({
    ...{ shared, kernel: {} as Parameters<typeof buildVcpu>[0]['kernel'] },
    parts: { ram: wholeOf(ram), entry: RAM_BASE, devices: [] },
    tell: (message) => said.push(message),
  });
  main.request(REQUEST_RESET);
  vcpu.turn();
  new Uint32Array(ram).set(guest);
  main.request(REQUEST_RUN);
  return vcpu;
}

const turns = (vcpu: Vcpu, count: number): void => {
  for (let i = 0; i < count; i++) vcpu.turn();
};
const found = (given?: Given): Recovered | undefined => recover(shared, 1, ram, () => given!);
const countOf = (recovered: Recovered | undefined): bigint | undefined => recovered?.machine.harts[0]?.hart.x[A1];

describe('a vCPU', () => {
  it('publishes nothing unless somebody wants it', () => {
    turns(vcpuWith(COUNTS), 3);
    expect(found()).toBeUndefined();
  });

  it('publishes a machine that has come here paused, and has not run', () => {
    const { harts, ...rest } = vcpuWith(COUNTS).suspend().state;
    use(createVmShared(1));
    publication.wanted = true;
    const paused = buildVcpu({
      ...{ shared, kernel: {} as Parameters<typeof buildVcpu>[0]['kernel'] },
      parts: { ram: wholeOf(ram), entry: RAM_BASE, devices: [] },
      tell: (message) => said.push(message),
    });
    main.request(REQUEST_STOP);
    paused.begin({ harts, ...rest }).turn();
    expect(found()?.machine.harts[0]?.hart).toEqual(harts[0]!.hart);
  });

  it('publishes nothing before its first slice where somebody else has that state', () => {
    const { state } = vcpuWith(COUNTS).suspend();
    use(createVmShared(1));
    publication.wanted = true;
    const given = buildVcpu({
      ...{ shared, kernel: {} as Parameters<typeof buildVcpu>[0]['kernel'] },
      parts: { ram: wholeOf(ram), entry: RAM_BASE, devices: [] },
      tell: (message) => said.push(message),
    }).begin(state, { isGiven: true });
    const hasGiven = { machine: state, interruptFiles: [] };
    main.request(REQUEST_RUN);
    given.turn();
    expect(publication.take()!.bytes).toBeDefined(); // after the slice it has its own
    publication.give();
    expect(found(hasGiven)?.machine.harts[0]?.hart).toEqual(state.harts[0]!.hart);
  });

  it('has published when its turn ends: the count goes on from there', () => {
    publication.wanted = true;
    const vcpu = vcpuWith(COUNTS);
    turns(vcpu, BOOT_TURNS);
    const first = countOf(found())!;
    turns(vcpu, 1);
    expect(first).toBeGreaterThan(0n);
    expect(countOf(found())!).toBeGreaterThan(first);
    expect(countOf(found())).toBe(vcpu.suspend().state.harts[0]!.hart.x[A1]);
  });

  it('begins and ends while the guest runs; then no state holds that is old', () => {
    const vcpu = vcpuWith(COUNTS);
    turns(vcpu, 2);
    publication.wanted = true;
    turns(vcpu, 1);
    expect(countOf(found())).toBeGreaterThan(0n);
    publication.wanted = false;
    turns(vcpu, 1);
    expect(found()).toBeUndefined();
  });

  it('ends its slice right after an access outside RAM', () => {
    publication.wanted = true;
    const vcpu = vcpuWith(LOADS_A_REGISTER);
    turns(vcpu, BOOT_TURNS);
    const before = countOf(found())!;
    turns(vcpu, 5);
    expect(countOf(found())).toBe(before + 5n);
  });

  it('leaves its state to the next crew', () => {
    publication.wanted = true;
    const vcpu = vcpuWith(COUNTS);
    turns(vcpu, BOOT_TURNS);
    const { number } = publication.take()!;
    const { state } = vcpu.suspend();
    const next = buildVcpu({
      ...{ shared, kernel: {} as Parameters<typeof buildVcpu>[0]['kernel'] },
      ...{ parts: { ram: wholeOf(ram), entry: RAM_BASE, devices: [] }, tell: () => {} },
    }).begin(state);
    next.turn();
    expect(publication.published).toBeGreaterThan(number + 1);
    expect(countOf(found())!).toBeGreaterThan(state.harts[0]!.hart.x[A1]!);
  });

  it.each([
    ['the guest', (): number => 0],
    ['main', (): number => main.request(REQUEST_RESET)],
  ])('says that the machine is to be reset until it runs again: %s', (_who, ask) => {
    publication.wanted = true;
    const vcpu = vcpuWith(RESETS);
    turns(vcpu, 5);
    ask();
    turns(vcpu, 20); // and the vCPU has come to rest
    expect(said.some(({ kind }) => kind === 'reset')).toBe(true);
    expect(found()!.reset).toBe(true);
    new Uint32Array(ram).set(COUNTS);
    main.request(REQUEST_RUN);
    turns(vcpu, 1);
    expect(found()!.reset).toBe(false);
  });

  it('runs on without publishing when its state has no room, and says so', () => {
    use({ ...createVmShared(1), publication: newPart(128 + 2 * 256) });
    publication.wanted = true;
    const vcpu = vcpuWith(COUNTS);
    turns(vcpu, 3);
    expect(said.find(({ kind }) => kind === 'unpublished')).toMatchObject({ reason: expect.stringContaining('room') });
    expect([publication.wanted, found()]).toEqual([false, undefined]);
    main.request(REQUEST_STOP);
    turns(vcpu, 1);
    expect(said.at(-1)!.kind).toBe('stopped');
  });
});

describe('a recovery', () => {
  /** A state holds, and the hart is within its next slice. */
  function within(): Journal {
    publication.wanted = true;
    turns(vcpuWith(COUNTS), 2);
    const journal = new Journal(shared.journal);
    journal.follow(publication.published);
    return journal;
  }

  it.each([
    ['load', PCIE_MMIO32.base + 8, "a load at 0x40000008, a device's register, may be made twice"],
    ['store', PCIE_ECAM.base + 4, "a store at 0x30000004, a device's register, may be made twice"],
    ['store', IMSIC.machine.base, 'an interrupt that the guest gave itself may come twice'],
    ['interrupt file', 0x80, 'an interrupt that the guest gave itself may come twice'],
  ] as const)('tells of a %s at %i that was under way', (kind, gpa, doubt) => {
    within().access(kind, gpa);
    expect(found()!.doubts).toEqual([doubt]);
  });

  it('tells of no access whose effect is in the published state alone', () => {
    within().access('store', CLINT.base);
    expect(found()!.doubts).toEqual([]);
  });

  it('tells of nothing once the state after the access is published', () => {
    const journal = within();
    journal.access('store', PCIE_MMIO32.base);
    publication.publish(publication.take()!.bytes!);
    expect(found()!.doubts).toEqual([]);
  });

  it('makes the interrupt pend whose route was in hand', () => {
    within();
    const routes = new InterruptRoutes(shared.routes);
    const route = routes.add({ eventfd: 9, slot: 1, identity: 33, delivered: 0 });
    routes.pickUp(route);
    expect(found()).toMatchObject({
      routes: [{ eventfd: 9 }],
      doubts: ['an interrupt of route 0 may come twice'],
      interruptFiles: [{ pending: [0, 2, 0, 0, 0, 0, 0, 0] }],
    });
  });

  it('tells of input that had no room, and gives the rest', () => {
    within();
    new ConsoleInput(shared.input).push(Buffer.alloc(5000, 'x'));
    expect(found()!.input).toHaveLength(4096);
    expect(found()!.doubts).toEqual(['console input that the VMM had read and the guest had no room for is lost']);
  });
});

describe('a journal', () => {
  const AT = 3;
  const NUMBER = 70_001; // the head has room for its low bits only
  let part: SharedPart;
  let journal: Journal;

  beforeEach(() => {
    part = newPart(128 + 8 * 24);
    journal = new Journal(part);
    journal.follow(NUMBER);
  });

  it('keeps stores and claims in order, 64-bit values whole', () => {
    journal.store(AT, 8, -1, 2, 0, -0x8000_0000);
    journal.claim(interruptTarget(1, 255, 'supervisor'));
    journal.store(0xffff_fff0, 1, 7, 0, 255, 0);
    expect(storesIn(part, NUMBER)).toEqual([
      { at: AT, size: 8, old: 0x2_ffff_ffffn, new: 0x8000_0000_0000_0000n },
      { at: 0xffff_fff0, size: 1, old: 7n, new: 255n },
    ]);
    const claims = [interruptTarget(1, 255, 'supervisor')];
    expect(readJournal(part, NUMBER)).toEqual({ claims, access: undefined });
    expect(storesIn(part, NUMBER + 1)).toEqual([]);
    expect(readJournal(part, NUMBER + 1).claims).toEqual([]);
  });

  it('forgets a store that was withdrawn', () => {
    journal.store(0, 4, 1, 0, 2, 0);
    journal.store(4, 4, 3, 0, 4, 0);
    journal.withdraw();
    expect(storesIn(part, NUMBER)).toEqual([{ at: 0, size: 4, old: 1n, new: 2n }]);
  });

  it('closes before it is full, and refuses to overflow', () => {
    const closing = Array.from({ length: 8 }, (_, i) => {
      journal.store(i, 1, 0, 0, 1, 0);
      return journal.closing;
    });
    expect(closing).toEqual([false, false, false, true, true, true, true, true]);
    expect(() => journal.store(8, 1, 0, 0, 1, 0)).toThrow('overflown');
  });
});

describe('a publication', () => {
  it('counts from 1 again after the last number, in the other slot', () => {
    const part = newPart(128 + 2 * 128);
    const states = new Publication(part);
    const LAST = 0x3fff_fffe;
    new Int32Array(part.buffer)[16] = LAST - 1; // `published`
    states.publish(Uint8Array.of(1));
    expect(states.take()).toEqual({ number: LAST, bytes: Uint8Array.of(1) });
    states.publish(Uint8Array.of(2));
    expect(states.take()).toEqual({ number: 1, bytes: Uint8Array.of(2) });
  });
});
