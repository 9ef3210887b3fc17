/** Debian's Linux for tests: only who asks for it lets them fetch packages. */
import { type DebianLinux, debianLinux } from '../../tools/debian/linux.ts';

const { LIVEVMM_DEBIAN: kept, LIVEVMM_TEST_LINUX: all, LIVEVMM_LINUX_TURN: turn } = process.env;

/** Whether tests shall boot Linux: LIVEVMM_DEBIAN names a folder for the packages. */
export const isWanted = (kept ?? all) !== undefined;
/** Whether they shall take minutes for it. */
export const isWantedWhole = all !== undefined;

const IN_TURN = ['board', 'replay'] as const;

/**
 * As isWanted, for one of the tests that take a minute each. LIVEVMM_LINUX_TURN, a number, lets one
 * of them run: CI runs another one with each commit.
 */
export const isWantedNow = (test: (typeof IN_TURN)[number]): boolean =>
  isWanted && (isWantedWhole || turn === undefined || IN_TURN[Number(turn) % IN_TURN.length] === test);

/** `folder`: for packages that are not kept. None to be had: undefined, and a line on stderr. */
export function linuxFor(folder: string): DebianLinux | undefined {
  try {
    return debianLinux(kept ?? folder);
  } catch (error) {
    process.stderr.write(`no Linux to boot: ${(error as Error).message}\n`);
    return undefined;
  }
}
