/**
 * Litmus tests: some harts, each with a few memory operations, and the values that the loads find.
 */

/** Loads, stores, or both. */
export type Kinds = 'r' | 'w' | 'rw';

interface Order {
  readonly aq: boolean;
  readonly rl: boolean;
}

/** An operation on a location, by its number; locations hold 0 at first. */
export type Operation =
  | { readonly op: 'load'; readonly at: number }
  | { readonly op: 'store'; readonly at: number; readonly value: number }
  /** AMOSWAP.D: finds the old value. */
  | ({ readonly op: 'swap'; readonly at: number; readonly value: number } & Order)
  /** LR.D with `aq` and SC.D with `rl`, until the SC stores: finds what the last LR loads. */
  | ({ readonly op: 'exchange'; readonly at: number; readonly value: number } & Order)
  | { readonly op: 'fence'; readonly before: Kinds; readonly after: Kinds };

/** By hart: its operations in program order. */
export type Litmus = readonly (readonly Operation[])[];

/** What all loads, swaps and exchanges find, hart by hart in program order: `1 0 | 0`. */
export type Outcome = string;

export const outcomeOf = (found: readonly (readonly number[])[]): Outcome =>
  found.map((values) => values.join(' ')).join(' | ');

export const load = (at: number): Operation => ({ op: 'load', at });
export const store = (at: number, value: number): Operation => ({ op: 'store', at, value });
export const swap = (at: number, value: number, bits: { aq?: boolean; rl?: boolean } = {}): Operation => ({
  ...{ op: 'swap', at, value, aq: bits.aq ?? false, rl: bits.rl ?? false },
});
export const exchange = (at: number, value: number, bits: { aq?: boolean; rl?: boolean } = {}): Operation => ({
  ...{ op: 'exchange', at, value, aq: bits.aq ?? false, rl: bits.rl ?? false },
});
export const fence = (before: Kinds = 'rw', after: Kinds = 'rw'): Operation => ({ op: 'fence', before, after });

export const finds = ({ op }: Operation): boolean => op === 'load' || op === 'swap' || op === 'exchange';
