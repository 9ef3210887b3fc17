/**
 * The loops of a region, as intervals of its blocks in their order: a loop has all blocks from the
 * target of a jump backwards to the last block that jumps there. Intervals lie beside or inside
 * each other.
 */
import type { Block } from './discover.ts';
import { calls, returnsTo, successors, type Translates } from './flow.ts';

interface Edge {
  readonly from: number;
  readonly to: number;
}

export interface Loops {
  /** By the first block of a loop: the block after its last one. */
  readonly ends: ReadonlyMap<number, number>;
  /**
   * Blocks where control can come from outside the region, or by a call or a jump that is no
   * loop's.
   */
  readonly entries: ReadonlySet<number>;
  /** Whether an entry lies in the loop, beside its first block. */
  isEnteredInside(first: number): boolean;
}

/** `entry` is the pc for which the region is made. */
export function loopsOf(blocks: readonly Block[], entry: number, translates: Translates): Loops {
  const byPc = new Map(blocks.map(({ pc, index }) => [pc, index]));
  const known = (pcs: readonly (number | undefined)[]): number[] => pcs.flatMap((pc) => byPc.get(pc ?? -1) ?? []);
  const edges = blocks.flatMap((block): Edge[] => {
    return known(successors(block, translates)).map((to) => ({ from: block.index, to }));
  });
  const ends = loopEnds(edges);
  const backwards = edges.filter(({ from, to }) => to <= from).map(({ to }) => to);
  const returns = blocks.flatMap((block) => known([returnsTo(block, translates), calls(block)]));
  const entries = new Set([...known([entry]), ...backwards, ...returns]);
  const inside = ([first, end]: readonly [number, number]): boolean =>
    [...entries].some((block) => block > first && block < end);
  const enteredInside = new Set([...ends].filter(inside).map(([first]) => first));
  return { ends, entries, isEnteredInside: (first) => enteredInside.has(first) };
}

/**
 * The loops into which control comes by their first block only, as far as the region jumps itself.
 */
function loopEnds(edges: readonly Edge[]): ReadonlyMap<number, number> {
  const heads = new Set(edges.filter(({ from, to }) => to <= from).map(({ to }) => to));
  for (;;) {
    const ends = new Map<number, number>();
    for (const { from, to } of edges) {
      if (to <= from && heads.has(to)) ends.set(to, Math.max(ends.get(to) ?? 0, from + 1));
    }
    nest(ends);
    const jumpsInto = ([first, end]: readonly [number, number]): boolean =>
      edges.some(({ from, to }) => to > first && to < end && (from < first || from >= end));
    const bad = [...ends].filter(jumpsInto);
    if (bad.length === 0) return ends;
    for (const [first] of bad) heads.delete(first);
  }
}

/** Makes the outer one of two loops that overlap long enough for both. */
function nest(ends: Map<number, number>): void {
  const firsts = [...ends.keys()].sort((a, b) => b - a);
  for (const outer of firsts) {
    for (let changed = true; changed; ) {
      changed = false;
      for (const inner of firsts) {
        const end = ends.get(outer)!;
        if (inner > outer && inner < end && ends.get(inner)! > end) {
          ends.set(outer, ends.get(inner)!);
          changed = true;
        }
      }
    }
  }
}
