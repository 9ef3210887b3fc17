/** Where control goes from a block, and the order in which a region has its blocks. */
import type { Block } from './discover.ts';

export type Translates = (decoded: Block['instructions'][number]) => boolean;

/** The pcs that a block jumps or falls to, calls aside. */
export function successors({ instructions, end }: Block, translates: Translates): readonly number[] {
  const last = instructions.at(-1)!;
  const { instruction, pc, imm, rd } = last;
  if (instruction.format === 'B') return [pc + imm, end];
  if (instruction.name === 'jal') return rd === 0 ? [pc + imm] : [];
  return instruction.name === 'jalr' || !translates(last) ? [] : [end];
}

/** The pc behind a call, or behind an instruction of the interpreter: control comes back there. */
export function returnsTo({ instructions, end }: Block, translates: Translates): number | undefined {
  const last = instructions.at(-1)!;
  const { name } = last.instruction;
  if (name === 'jal' || name === 'jalr') return last.rd === 0 ? undefined : end;
  return translates(last) ? undefined : end;
}

/** The pc that a block calls. */
export function calls({ instructions }: Block): number | undefined {
  const { instruction, pc, imm, rd } = instructions.at(-1)!;
  return instruction.name === 'jal' && rd !== 0 ? pc + imm : undefined;
}

/**
 * The blocks in reverse postorder of a depth-first search from `entry`, numbered anew: only loops
 * jump backwards then, and only to their heads, where compilers made them.
 */
export function inOrder(blocks: readonly Block[], entry: number, translates: Translates): readonly Block[] {
  const byPc = new Map(blocks.map((block) => [block.pc, block]));
  const called = new Set(blocks.map(calls));
  const done = new Set<Block>();
  const postorder: Block[] = [];
  // higher addresses are visited first, so they end up behind lower ones
  const onward = (block: Block): number[] =>
    [...successors(block, translates), returnsTo(block, translates) ?? block.pc].sort((a, b) => a - b);
  const visit = (root: Block): void => {
    if (done.has(root)) return;
    done.add(root);
    const stack = [{ block: root, next: onward(root) }];
    for (let top = stack.at(-1); top; top = stack.at(-1)) {
      const pc = top.next.pop();
      const to = pc === undefined ? undefined : byPc.get(pc);
      if (pc === undefined) {
        postorder.push(top.block);
        stack.pop();
      } else if (to && !done.has(to)) {
        done.add(to);
        stack.push({ block: to, next: onward(to) });
      }
    }
  };
  // functions that are called, each by itself; then the entry, which so comes first
  for (const block of blocks) if (called.has(block.pc) && block.pc !== entry) visit(block);
  visit(byPc.get(entry)!);
  for (const block of blocks) visit(block);
  return postorder.reverse().map((block, index) => ({ ...block, index }));
}
