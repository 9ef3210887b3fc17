/** A hart with programs in S and U mode, its page tables and its trap handlers, for tests. */
import type { Bus } from '../../../guest/riscv/environment.ts';
import { type HartState, PRIVILEGED } from '../../../guest/riscv/state.ts';
import { createHart, type Fixture, RAM_BASE } from './fixture.ts';

export const MODE = { U: 0, S: 1, M: 3 } as const;
export const PTE = { V: 1, R: 2, W: 4, X: 8, U: 16, G: 32, A: 64, D: 128 } as const;
/** Where traps to M mode and to S mode go: `j .` in both places. */
export const M_HANDLER = RAM_BASE + 0x800;
export const S_HANDLER = RAM_BASE + 0x880;
const STAY = 0x0000_006f;

export const ALL = { config: [0x1f, ...Array(15).fill(0)], address: [2n ** 54n - 1n, ...Array(15).fill(0n)] };

export interface Given extends Partial<Omit<HartState, 'privileged' | 'version'>> {
  readonly words?: readonly number[];
  readonly privileged?: Partial<NonNullable<HartState['privileged']>>;
  readonly bus?: Bus;
  readonly time?: () => bigint;
}

/** A hart with `words` at the start of RAM, in S mode if nothing else is given; PMP allows all. */
export function supervisor({ words = [], privileged = {}, bus, time, ...state }: Given = {}): Fixture {
  const fixture = createHart({ ...(bus ? { bus } : {}), ...(time ? { time } : {}) });
  for (const [i, word] of words.entries()) fixture.ram.setInt32(4 * i, word, true);
  fixture.ram.setInt32(M_HANDLER - RAM_BASE, STAY, true);
  fixture.ram.setInt32(S_HANDLER - RAM_BASE, STAY, true);
  fixture.hart.restore({
    ...fixture.hart.save(),
    mtvec: BigInt(M_HANDLER),
    pmp: ALL,
    ...state,
    privileged: { ...PRIVILEGED, mode: MODE.S, mpp: MODE.U, stvec: BigInt(S_HANDLER), ...privileged },
  });
  return fixture;
}

/** What a handler would find. */
export function trapOf({ hart }: Fixture): { mode: number; cause: bigint; tval: bigint; epc: bigint } | undefined {
  const { mcause, mtval, mepc, privileged } = hart.save();
  if (hart.pc === M_HANDLER) return { mode: MODE.M, cause: mcause, tval: mtval, epc: mepc };
  if (hart.pc !== S_HANDLER || !privileged) return undefined;
  return { mode: MODE.S, cause: privileged.scause, tval: privileged.stval, epc: privileged.sepc };
}

export const registers = (values: Readonly<Record<number, bigint>>): bigint[] =>
  Array.from({ length: 31 }, (_, i) => BigInt.asIntN(64, values[i + 1] ?? 0n));
