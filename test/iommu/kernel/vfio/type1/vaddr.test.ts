import { afterEach, describe, expect, it } from 'vitest';
import { ALL, errnoOf, RW, TestContainer, UNMAP_VADDR, VADDR } from './container.ts';

const PAGE = 4096;

let container: TestContainer;
let vaddr: number;
afterEach(() => container.close());

/** Entries A [1,3), B [3,5), C [6,8) in pages. */
function start(options: ConstructorParameters<typeof TestContainer>[0] = {}): void {
  container = new TestContainer(options);
  vaddr = container.memory(64 * PAGE);
  for (const first of [1, 3, 6]) container.map(first * PAGE, 2 * PAGE, vaddr + first * PAGE);
}

/** Which of the entries are invalid: MAP VADDR of them is accepted. */
const invalid = (): string =>
  [1, 3, 6]
    .filter((first) => {
      const isInvalid = errnoOf(() => container.map(first * PAGE, 2 * PAGE, vaddr + first * PAGE, VADDR)) === 'ok';
      if (isInvalid) container.unmap(first * PAGE, 2 * PAGE, UNMAP_VADDR);
      return isInvalid;
    })
    .map((first) => ({ 1: 'A', 3: 'B', 6: 'C' })[first])
    .join('');

describe('UNMAP VADDR (UNM-10)', () => {
  it.each([
    ['none', [], 0, 20, '6 ABC'],
    ['none', [], 1, 4, '4 AB'],
    ['none', [], 5, 1, '0 '],
    ['none', [], 2, 2, 'EINVAL '],
    ['RACE-7: A', [1], 0, 20, 'EINVAL A'],
    ['B', [3], 0, 20, 'EINVAL B'],
    ['C', [6], 0, 20, 'EINVAL C'],
    ['C', [6], 1, 4, '4 ABC'],
    ['A and C', [1, 6], 3, 2, '2 ABC'],
  ])('%s invalid already: [+%s) from page %s over %s pages → %s', (_name, before, first, nrPages, expected) => {
    start();
    for (const page of before) container.unmap(page * PAGE, 2 * PAGE, UNMAP_VADDR);
    let answer = '';
    const code = errnoOf(() => {
      answer = String(container.unmap(first * PAGE, nrPages * PAGE, UNMAP_VADDR) / BigInt(PAGE));
    });
    expect(`${code === 'ok' ? answer : code} ${invalid()}`).toBe(expected);
  });

  it('changes no translation, pin or charge; nor does MAP VADDR', () => {
    start();
    const { driver, pinner } = container.machine;
    const { pteWrites } = driver;
    container.unmap(0, 0, ALL | UNMAP_VADDR);
    expect(container.type1.stats.invalidVaddrs).toBe(3);
    expect([1, 4, 6].map((page) => container.reaches(page * PAGE))).toEqual([true, true, true]);
    container.map(PAGE, 2 * PAGE, vaddr + 0x20000, VADDR);
    expect(container.reaches(PAGE)).toBe(true);
    // the pages that were pinned, wherever vaddr points
    expect(container.process.space.peek(vaddr + PAGE, 1)[0]).toBe(0xa5);
    expect([driver.pteWrites, pinner.pinnedPages, container.process.mm.lockedVm]).toEqual([pteWrites, 6, 6]);
  });

  it('UNM-14: removing an invalid entry takes it off the count', () => {
    start();
    container.unmap(0, 0, ALL | UNMAP_VADDR);
    container.unmap(3 * PAGE, 2 * PAGE);
    expect(container.type1.stats.invalidVaddrs).toBe(2);
    container.unmapAll();
    expect(container.type1.stats.invalidVaddrs).toBe(0);
  });
});

describe('MAP VADDR (MAP-6)', () => {
  it.each([
    ['the same range', 3, 2, 'ok'],
    ['nothing there', 10, 2, 'ENOENT'],
    ['a shorter one', 3, 1, 'EINVAL'],
    ['one that starts later', 4, 1, 'EINVAL'],
    ['two entries', 1, 4, 'EINVAL'],
    ['one that reaches into a hole', 3, 3, 'EINVAL'],
    ['a valid entry', 6, 2, 'EINVAL'],
  ])('%s', (_name, first, nrPages, code) => {
    start();
    container.unmap(PAGE, 4 * PAGE, UNMAP_VADDR);
    expect(errnoOf(() => container.map(first * PAGE, nrPages * PAGE, vaddr, VADDR))).toBe(code);
  });

  it('asks for no memory at the new vaddr: the kernel trusts its caller', () => {
    start();
    container.unmap(PAGE, 2 * PAGE, UNMAP_VADDR);
    expect(errnoOf(() => container.map(PAGE, 2 * PAGE, 0x1000, VADDR))).toBe('ok');
  });

  it('exec update: same iovas, the same object at other addresses, devices writing all the time', () => {
    start({ profile: '5.12' });
    const [vma] = container.process.space.vmas;
    container.unmap(0, 0, ALL | UNMAP_VADDR);
    container.process.exec();
    expect(container.reaches(PAGE)).toBe(true);
    const fresh = container.process.space.map(vma!.object, {}, vaddr + 0x4000_0000);
    for (const first of [1, 3, 6]) container.map(first * PAGE, 2 * PAGE, fresh + first * PAGE, VADDR);
    expect(container.type1.stats.invalidVaddrs).toBe(0);
    expect(container.process.space.peek(fresh + PAGE, 1)[0]).toBe(0xa5);
    expect(errnoOf(() => container.map(PAGE, 2 * PAGE, fresh, RW))).toBe('EEXIST');
  });
});
