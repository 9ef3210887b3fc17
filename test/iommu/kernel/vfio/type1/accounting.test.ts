import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeProcess } from '../../../../fakes/fake-machine.ts';
import { errnoOf, TestContainer, UNMAP_VADDR, VADDR } from './container.ts';

const PAGE = 4096;

let container: TestContainer;
let vaddr: number;

function start(options: ConstructorParameters<typeof TestContainer>[0] = {}): void {
  container = new TestContainer(options);
  vaddr = container.memory(64 * PAGE);
}
beforeEach(() => start());
afterEach(() => container.close());

const locked = (process = container.process): number => process.mm.lockedVm;

/** An unprivileged process that may lock so many pages. */
function limit(pages: number, process = container.process): void {
  process.ipcLock = false;
  process.memlockPages = pages;
}

/** execve, and the same memory at a new vaddr. */
function exec(): number {
  const [vma] = container.process.space.vmas;
  container.process.exec();
  return container.process.space.map(vma!.object);
}

describe('RLIMIT_MEMLOCK (ACC-3)', () => {
  it('is met exactly, and one page more is ENOMEM with nothing charged', () => {
    limit(8);
    expect(errnoOf(() => container.map(0, 9 * PAGE, vaddr))).toBe('ENOMEM');
    expect(locked()).toBe(0);
    expect(errnoOf(() => container.map(0, 8 * PAGE, vaddr))).toBe('ok');
    expect(errnoOf(() => container.map(8 * PAGE, PAGE, vaddr))).toBe('ENOMEM');
    container.unmapAll();
    expect(locked()).toBe(0);
    expect(container.machine.pinner.pinnedPages).toBe(0);
  });

  it('ENOMEM tells the limit, how to raise it, and the option of the host', () => {
    limit(8);
    expect(() => container.map(0, 9 * PAGE, vaddr)).toThrow(
      /may lock 32 KiB of memory and needs more: raise its RLIMIT_MEMLOCK \('ulimit -l'.*--memlock unlimited/,
    );
  });

  it('the same page mapped twice counts twice', () => {
    container.map(0, PAGE, vaddr);
    container.map(PAGE, PAGE, vaddr);
    expect(locked()).toBe(2);
  });

  it('CAP_IPC_LOCK is above it, as it was when the entry was mapped (MAP-15)', () => {
    limit(0);
    container.process.ipcLock = true;
    expect(errnoOf(() => container.map(0, 8 * PAGE, vaddr))).toBe('ok');
    expect(locked()).toBe(8);
  });

  it('a hole found before the limit is EFAULT, the limit before the hole ENOMEM', () => {
    container.process.space.unmap(vaddr + 4 * PAGE, PAGE);
    limit(4);
    expect(errnoOf(() => container.map(0, 8 * PAGE, vaddr))).toBe('EFAULT');
    limit(3);
    expect(errnoOf(() => container.map(0, 8 * PAGE, vaddr))).toBe('ENOMEM');
    expect(locked()).toBe(0);
  });
});

describe('locked memory at replay (ATT-3, ACC-3)', () => {
  beforeEach(() => {
    start({ real: false });
    container.type1.attachGroup(container.emulatedGroup, container.process.task());
    container.map(0, 8 * PAGE, vaddr);
    container.map(0x100000, 4 * PAGE, vaddr);
  });
  const attach = (): string =>
    errnoOf(() => container.type1.attachGroup(container.realGroup, container.process.task()));

  it('nothing is charged before, everything with the first real group, and nothing after the last', () => {
    expect(locked()).toBe(0);
    expect(attach()).toBe('ok');
    expect([locked(), container.machine.pinner.pinnedPages]).toEqual([12, 12]);
    const second = container.group(2, [0x30]);
    container.type1.attachGroup(second, container.process.task());
    expect(locked()).toBe(12);
    container.type1.detachGroup(second);
    container.type1.detachGroup(container.realGroup);
    expect([locked(), container.machine.pinner.pinnedPages]).toEqual([0, 0]);
  });

  it('a limit that is met exactly is enough; one page less is ENOMEM, and no entry stays charged or pinned', () => {
    container.unmapAll();
    limit(12);
    container.map(0, 8 * PAGE, vaddr); // an unprivileged mapper, at MAP time
    container.map(0x100000, 4 * PAGE, vaddr);
    limit(11);
    expect(attach()).toBe('ENOMEM');
    expect([locked(), container.machine.pinner.pinnedPages]).toEqual([0, 0]);
    limit(12);
    expect(attach()).toBe('ok');
    expect(locked()).toBe(12);
  });

  it('what drivers of mediated devices have pinned, and charged, is not charged again', async () => {
    container.type1.registerDevice({ dmaUnmap: () => undefined });
    await container.type1.pinPages({ group: container.emulatedGroup, vpn: 2, nrPages: 3, prot: 3 });
    expect(locked()).toBe(3);
    expect(attach()).toBe('ok');
    expect(locked()).toBe(12);
    container.type1.detachGroup(container.realGroup);
    expect(locked()).toBe(3);
    container.type1.unpinPages(2, 3);
    expect(locked()).toBe(0);
  });
});

describe('locked memory at MAP VADDR, 6.3+ (ACC-6)', () => {
  beforeEach(() => {
    container.map(0, 16 * PAGE, vaddr);
    container.map(0x100000, 4 * PAGE, vaddr);
    container.unmap(0, 0, 2 | UNMAP_VADDR);
  });

  it('the limit counts what the new image has locked by other mappings and by mlock(2)', () => {
    const fresh = exec();
    limit(20);
    container.process.space.mlocked = 1;
    expect(errnoOf(() => container.map(0, 16 * PAGE, fresh, VADDR))).toBe('ok');
    expect(errnoOf(() => container.map(0x100000, 4 * PAGE, fresh, VADDR))).toBe('ENOMEM');
    expect([locked(), container.type1.stats.invalidVaddrs]).toEqual([16, 1]);
    container.process.space.mlocked = 0;
    expect(errnoOf(() => container.map(0x100000, 4 * PAGE, fresh, VADDR))).toBe('ok');
    expect(locked()).toBe(20);
  });

  it('in the same address space nothing moves, whatever the limit', () => {
    limit(0);
    expect(errnoOf(() => container.map(0, 16 * PAGE, vaddr, VADDR))).toBe('ok');
    expect(locked()).toBe(20);
  });

  it('the right to lock is that of whoever took it over, for later charges too (MAP-15)', () => {
    const heir = new FakeProcess(101);
    limit(16, heir);
    container.map(0, 16 * PAGE, vaddr, VADDR, heir);
    container.map(0x100000, 4 * PAGE, vaddr, VADDR);
    container.type1.attachGroup(container.emulatedGroup, container.process.task());
    container.type1.detachGroup(container.realGroup);
    expect([locked(), locked(heir)]).toEqual([0, 0]);

    const attach = (): string =>
      errnoOf(() => container.type1.attachGroup(container.realGroup, container.process.task()));
    limit(15, heir);
    expect(attach()).toBe('ENOMEM');
    limit(16, heir);
    expect(attach()).toBe('ok');
    expect([locked(), locked(heir)]).toEqual([4, 16]);
  });
});

describe('exec update, 6.3+ (ACC-6)', () => {
  it('the charge moves with each MAP VADDR; the dead address space is not touched', () => {
    container.map(0, 16 * PAGE, vaddr);
    container.map(0x100000, 4 * PAGE, vaddr);
    container.unmap(0, 0, 2 | UNMAP_VADDR);
    const oldMm = container.process.mm;
    const fresh = exec();
    expect(locked()).toBe(0);
    container.map(0, 16 * PAGE, fresh, VADDR);
    expect(locked()).toBe(16);
    container.map(0x100000, 4 * PAGE, fresh, VADDR);
    expect([locked(), oldMm.lockedVm]).toEqual([20, 20]);
    container.unmapAll();
    expect(locked()).toBe(0);
  });

  it('RACE-37: ENOMEM leaves the entry invalid, and a retry works', () => {
    container.map(0, 16 * PAGE, vaddr);
    container.unmap(0, 16 * PAGE, UNMAP_VADDR);
    const fresh = exec();
    limit(15);
    expect(errnoOf(() => container.map(0, 16 * PAGE, fresh, VADDR))).toBe('ENOMEM');
    expect([locked(), container.type1.stats.invalidVaddrs]).toEqual([0, 1]);
    limit(16);
    expect(errnoOf(() => container.map(0, 16 * PAGE, fresh, VADDR))).toBe('ok');
    expect([locked(), container.type1.stats.invalidVaddrs]).toEqual([16, 0]);
  });

  it('by another process it takes the charge from the first, which is alive', () => {
    container.map(0, 16 * PAGE, vaddr);
    container.unmap(0, 16 * PAGE, UNMAP_VADDR);
    const child = new FakeProcess(101);
    container.map(0, 16 * PAGE, vaddr, VADDR, child);
    expect([locked(), locked(child)]).toEqual([0, 16]);
    container.unmapAll();
    expect(locked(child)).toBe(0);
  });

  it('the same image gives an entry another vaddr at its very limit: nothing is charged twice', () => {
    limit(16);
    container.map(0, 16 * PAGE, vaddr);
    container.unmap(0, 16 * PAGE, UNMAP_VADDR);
    expect(errnoOf(() => container.map(0, 16 * PAGE, vaddr + 16 * PAGE, VADDR))).toBe('ok');
    expect(locked()).toBe(16);
  });

  it.each([
    ['has CAP_IPC_LOCK, which the first had not', true, 0, 'ok'],
    ['may lock 4 pages, where the first could lock all', false, 4, 'ENOMEM'],
  ])('what is charged later counts for who took the entry over, who %s', async (_what, ipcLock, pages, code) => {
    limit(16);
    container.process.ipcLock = !ipcLock;
    container.map(0, 16 * PAGE, vaddr);
    container.unmap(0, 16 * PAGE, UNMAP_VADDR);
    const child = new FakeProcess(101);
    child.space.vmas.push(...container.process.space.vmas);
    child.ipcLock = ipcLock;
    child.memlockPages = 16;
    container.map(0, 16 * PAGE, vaddr, VADDR, child);
    // From here on only drivers of mediated devices pin.
    container.type1.attachGroup(container.emulatedGroup, child.task());
    container.type1.registerDevice({ dmaUnmap: () => {} });
    container.type1.detachGroup(container.realGroup);
    expect([locked(), locked(child)]).toEqual([0, 0]);
    child.memlockPages = pages;

    const pinning = container.type1.pinPages({ group: container.emulatedGroup, vpn: 0, nrPages: 5, prot: 3 });

    expect(
      await pinning.then(
        () => 'ok',
        ({ code }) => code,
      ),
    ).toBe(code);
    container.type1.unpinPages(0, 5);
  });

  it('RACE-4: an unmap after exec uncharges nobody', () => {
    container.map(0, 16 * PAGE, vaddr);
    exec();
    expect(container.unmapAll()).toBe(0x10000n);
    expect(locked()).toBe(0);
  });
});

describe.each(['5.12', '6.2'] as const)('exec update, %s (ACC-5)', (profile) => {
  beforeEach(() => start({ profile }));

  it('MAP VADDR moves no charge', () => {
    container.map(0, 16 * PAGE, vaddr);
    container.unmap(0, 16 * PAGE, UNMAP_VADDR);
    const fresh = exec();
    container.map(0, 16 * PAGE, fresh, VADDR);
    expect(locked()).toBe(0);
  });

  it('RACE-4: an unmap after exec uncharges the new image, and no unprivileged MAP succeeds any more', () => {
    container.map(0, 16 * PAGE, vaddr);
    const fresh = exec();
    container.unmapAll();
    expect(locked()).toBe(-16); // unsigned: 2^64 − 16
    limit(1000);
    expect(errnoOf(() => container.map(0, PAGE, fresh))).toBe('ENOMEM');
    container.process.ipcLock = true;
    expect(errnoOf(() => container.map(0, PAGE, fresh))).toBe('ok');
  });

  it('RACE-4: nor without a limit, until what mlock(2) has locked makes up for it', () => {
    container.map(0, 16 * PAGE, vaddr);
    const fresh = exec();
    container.unmapAll();
    limit(Number.POSITIVE_INFINITY);
    expect(errnoOf(() => container.map(0, PAGE, fresh))).toBe('ENOMEM');
    container.process.space.mlocked = 15;
    expect(errnoOf(() => container.map(0, PAGE, fresh))).toBe('ok');
  });
});

it('the mapper has exited: unmap by another process succeeds and charges nobody (UNM-9, ACC-8)', () => {
  container.map(0, 16 * PAGE, vaddr);
  container.process.exit();
  expect(container.unmap(0, 16 * PAGE, 0, new FakeProcess(101))).toBe(0x10000n);
});

describe('the address space of an entry (mmgrab)', () => {
  /** Whether what the kernel keeps open of it is still open. */
  const isHeld = ({ vmas }: { readonly vmas: readonly unknown[] }): boolean => vmas.length > 0;

  it('is held until the entry goes', () => {
    const { space } = container.process;
    container.map(0, PAGE, vaddr);
    container.process.exec();
    expect(isHeld(space)).toBe(true);
    container.unmapAll();
    expect(isHeld(space)).toBe(false);
  });

  it('is not held by a MAP that failed', () => {
    const { space } = container.process;
    limit(1);
    expect(errnoOf(() => container.map(0, 2 * PAGE, vaddr))).toBe('ENOMEM');
    container.process.exec();
    expect(isHeld(space)).toBe(false);
  });

  it.each(['5.12', '6.12'] as const)(
    'loses its charge to the next image also while somebody shares it, %s',
    (profile) => {
      start({ profile });
      const { mm } = container.process;
      container.map(0, 2 * PAGE, vaddr);
      container.unmap(0, 2 * PAGE, UNMAP_VADDR);
      const [vma] = container.process.space.vmas;
      container.process.exec({ shared: true });
      container.map(0, 2 * PAGE, container.process.space.map(vma!.object), VADDR);
      container.map(16 * PAGE, PAGE, container.process.space.map(vma!.object));
      expect([mm.lockedVm, locked()]).toEqual(profile === '5.12' ? [2, 1] : [0, 3]);
      container.unmap(0, 2 * PAGE);
      expect([mm.lockedVm, locked()]).toEqual(profile === '5.12' ? [2, -1] : [0, 1]);
    },
  );

  it('is let go by MAP VADDR of the next image', () => {
    const { space } = container.process;
    container.map(0, PAGE, vaddr);
    container.unmap(0, PAGE, UNMAP_VADDR);
    const fresh = exec();
    container.map(0, PAGE, fresh, VADDR);
    expect(isHeld(space)).toBe(false);
  });
});
