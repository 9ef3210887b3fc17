/** Debian's Linux for tests: only who asks for it lets them fetch packages. */
import { type DebianLinux, debianLinux } from '../../tools/debian/linux.ts';
import type { Release } from '../../tools/debian/own-apt.ts';
import { isOffered } from '../offered.ts';
import { inTurn } from '../turn.ts';

const { LIVEVMM_DEBIAN: kept, LIVEVMM_TEST_LINUX: all, LIVEVMM_TURN: turn } = process.env;

/** Whether tests shall boot Linux: LIVEVMM_DEBIAN names a folder for the packages. */
const isWanted = isOffered((kept ?? all) !== undefined, "Debian's Linux: LIVEVMM_DEBIAN=FOLDER keeps its packages");

/** Whether tests shall take minutes for it. */
export const isWhole = all !== undefined;

/**
 * One of these, by the number LIVEVMM_TURN (test/turn.ts), or the first one; all of them with
 * LIVEVMM_TEST_LINUX=1; none where no Linux is wanted.
 */
export function wantedNow<const T>(ways: readonly T[]): readonly T[] {
  if (!isWanted) return [];
  if (isWhole) return ways;
  return turn === undefined ? ways.slice(0, 1) : inTurn(ways);
}

/** Each takes a minute. */
const TESTS = ['board', 'replay', 'typing', 'demo', 'held-request'] as const;

/** Whether it is one of those that run now. */
export const isWantedNow = (test: (typeof TESTS)[number]): boolean => wantedNow(TESTS).includes(test);

/** Where the packages are: `folder` if they are not kept. */
export const debianFolder = (folder: string): string => kept ?? folder;

/** `folder`: for packages that are not kept. None to be had: undefined, and a line on stderr. */
export function linuxFor(folder: string, release: Release = 'trixie'): DebianLinux | undefined {
  try {
    return debianLinux(debianFolder(folder), release);
  } catch (error) {
    process.stderr.write(`no Linux to boot: ${(error as Error).message}\n`);
    return undefined;
  }
}
