/**
 * Tests that take turns. LIVEVMM_TURN, a number, lets some of them run: CI takes other ones with
 * each commit (.ci/run). Who does not set it runs all. It is for cases at the cost of processes
 * that show one rule in several ways.
 */
const { LIVEVMM_TURN: turn } = process.env;

/** Whether it is the turn of the n-th of `of`, from 0. */
export const isTurn = (n: number, of: number): boolean => turn === undefined || Number(turn) % of === n;

/** The cases whose turn it is: every `of`-th one; by default one of them. */
export const inTurn = <const T>(cases: readonly T[], of = cases.length): readonly T[] =>
  cases.filter((_, n) => isTurn(n % of, of));
