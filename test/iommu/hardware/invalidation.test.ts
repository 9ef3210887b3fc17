import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { clearEntry, entryHi, entryLo, PTE_G } from '../../../iommu/hardware/pte.ts';
import { atp, IOFENCE, LEAF, Machine, RAM_PFN, type TestPort } from './machine.ts';

const GSCID = 3;
const PSCID = 5;
const SV39X4 = { levels: 3, x4: true };
const AV = 1n << 10n;
const PSCV = 1n << 32n;
const GV = 1n << 33n;

const gvma = (gscid: number): readonly [bigint, bigint] => [0x81n | GV | (BigInt(gscid) << 44n), 0n];
const gvmaAt = (gscid: number, page: number): readonly [bigint, bigint] => [
  0x81n | GV | AV | (BigInt(gscid) << 44n),
  BigInt(page) << 10n,
];

/**
 * Every page of device RAM says its number in its first word, so that a read tells what it was
 * translated to.
 */
function numberPages(machine: Machine): void {
  const words = new Int32Array(machine.ram);
  for (let page = 0; page < machine.ram.byteLength / 4096; page++) words[page * 1024] = page;
}

/** Page that `vpn` is translated to, or undefined when it is refused. */
function target(port: TestPort, vpn: number): number | undefined {
  const { done, bytes } = port.read(vpn, 0, 4);
  return done === 4 ? new DataView(bytes.buffer).getUint32(0, true) : undefined;
}

type Op =
  | { readonly op: 'map'; readonly vpn: number; readonly page: number }
  | { readonly op: 'map large'; readonly block: number; readonly to: number }
  | { readonly op: 'unmap'; readonly vpn: number }
  | { readonly op: 'invalidate all' | 'invalidate other' }
  | { readonly op: 'invalidate page' | 'access'; readonly vpn: number }
  | { readonly op: 'invalidate often'; readonly times: number };

// Three pages of each of two blocks of 2 MiB; 1024 pages apart they share an IOTLB entry.
const vpn = fc.constantFrom(0, 1, 511, 512, 513, 1024, 1025);
const op: fc.Arbitrary<Op> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ op: fc.constant('map' as const), vpn, page: fc.nat(1023) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('map large' as const), block: fc.nat(2), to: fc.nat(1) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('unmap' as const), vpn }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constantFrom('invalidate all' as const, 'invalidate other' as const) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('invalidate page' as const), vpn }) },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constant('invalidate often' as const), times: fc.integer({ min: 10, max: 90 }) }),
  },
  { weight: 8, arbitrary: fc.record({ op: fc.constant('access' as const), vpn }) },
);

interface Seen {
  readonly page: number;
  /** The leaf it came from: its first page. */
  readonly leaf: string;
}

/**
 * What the specification allows: any translation that was valid since the last invalidation that
 * subsumes it.
 */
class Tables {
  readonly machine = new Machine({ agents: 1 });
  readonly #root: number;
  readonly #allowed = new Map<number, Seen[]>();
  readonly #large = new Map<number, number>();
  readonly #small = new Map<number, number>();

  constructor() {
    const { machine } = this;
    numberPages(machine);
    this.#root = machine.page(4);
    machine.enable();
    machine.setContext({ iohgatp: atp(8, this.#root, GSCID) });
  }

  current(page: number): Seen | undefined {
    const block = Math.floor(page / 512);
    const large = this.#large.get(block);
    if (large !== undefined) return { page: large * 512 + (page % 512), leaf: `large ${block}` };
    const small = this.#small.get(page);
    return small === undefined ? undefined : { page: small, leaf: `small ${page}` };
  }

  allowed(page: number): number[] {
    return [...(this.#allowed.get(page) ?? []), this.current(page)].flatMap((s) => (s ? [s.page] : []));
  }

  apply(step: Op): void {
    const { machine } = this;
    if (step.op === 'map') this.#mapSmall(step.vpn, step.page);
    else if (step.op === 'map large') this.#mapLarge(step.block, step.to);
    else if (step.op === 'unmap') this.#unmap(step.vpn);
    else if (step.op === 'invalidate other') machine.command(gvma(GSCID + 1), [1n, 0n]);
    else if (step.op === 'invalidate page') {
      machine.command(gvmaAt(GSCID, step.vpn), IOFENCE);
      this.#forget((leaf) => leaf === `small ${step.vpn}` || leaf === `large ${Math.floor(step.vpn / 512)}`);
    } else if (step.op === 'invalidate often') {
      for (let i = 0; i < step.times; i++) machine.command(gvmaAt(GSCID, 0x5000 + i));
      machine.command(gvma(GSCID), IOFENCE);
      this.#forget(() => true);
    } else if (step.op === 'invalidate all') {
      machine.command(gvma(GSCID), IOFENCE);
      this.#forget(() => true);
    }
  }

  #forget(matches: (leaf: string) => boolean): void {
    for (const [page, seen] of this.#allowed)
      this.#allowed.set(
        page,
        seen.filter((s) => !matches(s.leaf)),
      );
  }

  /** What is valid now stays possible until it is invalidated. */
  #retire(pages: readonly number[]): void {
    for (const page of pages) {
      const now = this.current(page);
      if (now) this.#allowed.set(page, [...(this.#allowed.get(page) ?? []), now]);
    }
  }

  #blockPages(block: number): number[] {
    return [0, 1, 511].map((i) => block * 512 + i);
  }

  #middleIndex(block: number): number {
    const { machine } = this;
    // makes the table above
    machine.map(this.#root, block * 512, 0, { ...SV39X4, level: 1, flags: 0 });
    const middle = Number((machine.view.getBigUint64(machine.at(this.#root), true) >> 10n) & 0xfffffffffffn);
    return machine.at(middle) / 4 + block * 2;
  }

  #mapSmall(page: number, to: number): void {
    const block = Math.floor(page / 512);
    this.#retire([page]);
    if (this.#large.has(block)) this.#unmapLarge(block);
    this.machine.map(this.#root, page, RAM_PFN + to, SV39X4);
    this.#small.set(page, to);
  }

  #mapLarge(block: number, to: number): void {
    this.#retire(this.#blockPages(block));
    for (const page of this.#blockPages(block)) this.#small.delete(page);
    clearEntry(this.machine.words, this.#middleIndex(block));
    this.machine.map(this.#root, block * 512, RAM_PFN + to * 512, { ...SV39X4, level: 1 });
    this.#large.set(block, to);
  }

  #unmapLarge(block: number): void {
    this.#retire(this.#blockPages(block));
    clearEntry(this.machine.words, this.#middleIndex(block));
    this.#large.delete(block);
  }

  #unmap(page: number): void {
    const block = Math.floor(page / 512);
    if (this.#large.has(block)) this.#unmapLarge(block);
    else if (this.#small.has(page)) {
      this.#retire([page]);
      this.machine.map(this.#root, page, 0, { ...SV39X4, flags: 0 });
      this.#small.delete(page);
    }
  }
}

describe('the IOTLB', () => {
  it('never serves a translation after a completed invalidation that subsumes it, whatever came before', () => {
    let stale = 0;
    fc.assert(
      fc.property(fc.array(op, { minLength: 60, maxLength: 80 }), (steps) => {
        const tables = new Tables();
        const port = tables.machine.port();
        for (const step of steps) {
          tables.apply(step);
          if (step.op !== 'access') continue;
          const got = target(port, step.vpn);
          const now = tables.current(step.vpn)?.page;
          if (got !== now) stale++;
          if (got === undefined) expect(now).toBeUndefined();
          else expect(tables.allowed(step.vpn)).toContain(got);
        }
      }),
      { numRuns: 60 },
    );
    expect(stale).toBeGreaterThan(0); // or the cache holds nothing and this test shows nothing
  });
});

describe('IOTINVAL', () => {
  function cachedUnderFirstStage(flags = LEAF): { machine: Machine; port: TestPort; remap: () => void } {
    const machine = new Machine();
    numberPages(machine);
    const root = machine.page();
    machine.enable();
    machine.setContext({ fsc: atp(8, root), ta: BigInt(PSCID) << 12n });
    machine.map(root, 7, RAM_PFN + 1, { levels: 3, flags });
    const port = machine.port();
    expect(target(port, 7)).toBe(1);
    machine.map(root, 7, RAM_PFN + 2, { levels: 3, flags });
    return { machine, port, remap: () => machine.map(root, 7, RAM_PFN + 2, { levels: 3, flags }) };
  }

  const vma = (flags: bigint, pscid = 0, page = 0): readonly [bigint, bigint] => [
    1n | flags | (BigInt(pscid) << 12n),
    BigInt(page) << 10n,
  ];

  it.each([
    { what: 'VMA', command: vma(0n), global: false, fresh: true },
    { what: 'VMA of the address', command: vma(AV, 0, 7), global: false, fresh: true },
    { what: 'VMA of another address', command: vma(AV, 0, 8), global: false, fresh: false },
    { what: 'VMA of the PSCID', command: vma(PSCV, PSCID), global: false, fresh: true },
    { what: 'VMA of another PSCID', command: vma(PSCV, PSCID + 1), global: false, fresh: false },
    { what: 'VMA of PSCID and address', command: vma(PSCV | AV, PSCID, 7), global: false, fresh: true },
    { what: 'VMA of a VM', command: vma(GV), global: false, fresh: false },
    { what: 'GVMA', command: [0x81n, 0n] as const, global: false, fresh: false },
    { what: 'VMA, global page', command: vma(0n), global: true, fresh: true },
    { what: 'VMA of the address, global page', command: vma(AV, 0, 7), global: true, fresh: true },
    { what: 'VMA of the PSCID, global page', command: vma(PSCV, PSCID), global: true, fresh: false },
    { what: 'VMA of PSCID and address, global page', command: vma(PSCV | AV, PSCID, 7), global: true, fresh: false },
  ])('$what: translation is fresh afterwards: $fresh', ({ command, global, fresh }) => {
    const { machine, port } = cachedUnderFirstStage(global ? LEAF | PTE_G : LEAF);

    machine.command(command, IOFENCE);

    expect(target(port, 7)).toBe(fresh ? 2 : 1);
  });

  it.each([
    { what: 'GVMA of the VM', command: gvma(GSCID), fresh: true },
    { what: 'GVMA of another VM', command: gvma(GSCID + 1), fresh: false },
    { what: 'GVMA of an address, which under a first stage takes all', command: gvmaAt(GSCID, 99), fresh: true },
    { what: 'VMA of the VM', command: vma(GV | (BigInt(GSCID) << 44n)), fresh: true },
    { what: 'VMA of the host', command: vma(0n), fresh: false },
  ])('nested, $what: translation is fresh afterwards: $fresh', ({ command, fresh }) => {
    const machine = new Machine();
    numberPages(machine);
    const second = machine.page(4);
    const first = machine.page();
    machine.enable();
    machine.setContext({ iohgatp: atp(8, second, GSCID), fsc: atp(8, first), ta: BigInt(PSCID) << 12n });
    machine.map(second, 0, 0, { ...SV39X4, level: 2 });
    machine.map(second, 0x40000, RAM_PFN + 1, SV39X4);
    machine.map(first, 7, 0x40000, { levels: 3 });
    const port = machine.port();
    expect(target(port, 7)).toBe(1);
    machine.map(second, 0x40000, RAM_PFN + 2, SV39X4);

    machine.command(command, IOFENCE);

    expect(target(port, 7)).toBe(fresh ? 2 : 1);
  });
});

it('IOTINVAL of one page forgets all pages of a 64 KiB leaf (Svnapot) that the device has touched', () => {
  const machine = new Machine({ agents: 1 });
  numberPages(machine);
  const root = machine.page(4);
  machine.enable();
  machine.setContext({ iohgatp: atp(8, root, GSCID) });
  machine.map(root, 0x20, RAM_PFN, SV39X4);
  const table = machine.page() - 1;
  const point = (pfn: number): void => {
    for (let i = 0x20; i < 0x30; i++) {
      machine.words[machine.at(table) / 4 + 2 * i + 1] = entryHi(pfn + 8) | 0x80000000;
      machine.words[machine.at(table) / 4 + 2 * i] = entryLo(pfn + 8, LEAF);
    }
  };
  point(RAM_PFN + 16);
  const port = machine.port();
  expect([0x20, 0x25, 0x2f].map((vpn) => target(port, vpn))).toEqual([16, 21, 31]);
  point(RAM_PFN + 64);

  machine.command(gvmaAt(GSCID, 0x21), IOFENCE);

  expect([0x20, 0x25, 0x2f].map((vpn) => target(port, vpn))).toEqual([64, 69, 79]);
});

it('IOTINVAL of one page forgets it for writing as well as for reading', () => {
  const machine = new Machine({ agents: 1 });
  const root = machine.page(4);
  machine.enable();
  machine.setContext({ iohgatp: atp(8, root, GSCID) });
  machine.map(root, 0x20, RAM_PFN, SV39X4);
  const port = machine.port();
  const frame = Uint8Array.of(1, 2, 3, 4);
  expect(port.write(0x20, 0, frame)).toBe(4);
  machine.map(root, 0x20, RAM_PFN + 7, SV39X4);

  machine.command(gvmaAt(GSCID, 0x20), IOFENCE);

  expect(port.write(0x20, 8, frame)).toBe(4);
  expect([new Uint8Array(machine.ram, 8, 4), new Uint8Array(machine.ram, 7 * 4096 + 8, 4)]).toEqual([
    new Uint8Array(4),
    frame,
  ]);
});
