/**
 * Translates a region, the blocks that direct jumps connect, into one function:
 *
 *     (entry: number of a block, left: instructions that may be executed)
 *       → (what is left << 2 | why it returned, pc)
 *
 * Registers are locals. Blocks lie one after the other, in the order of addresses. So a jump
 * forwards is a branch out of the wasm blocks in between; a jump backwards goes round the loop,
 * which begins with a jump table. A jump to any other pc looks into the jump cache, whether it is a
 * block of this region, and returns if it is not.
 *
 * `left` is counted down by whole blocks, before their first instruction. A block that does not fit
 * leaves. So a run of n instructions is exactly n, and no loop runs for long.
 */
import type { Block } from './discover.ts';
import {
  BUDGET,
  type Context,
  E,
  Emitter,
  ENTRY,
  jumpEntry,
  LEFT_LOCAL,
  LOOKUP,
  type Places,
  STEP,
  TARGET,
  WHY,
} from './emitter.ts';
import type { Decoded } from './fields.ts';
import { FLOAT_ARITHMETIC } from './float.ts';
import { CONDITION, INTEGER } from './integer.ts';
import { MEMORY, MEMORY_FLOAT } from './memory.ts';
import { F64, type FunctionType, I32, I64, moduleOf, op } from './wasm.ts';
import { JUMP_ENTRY, JUMP_SLOT } from './workspace.ts';

const isFloat = ({ instruction }: Decoded): boolean => instruction.extension === 'F' || instruction.extension === 'D';

/** Whether the code of a region has this instruction, where `context` is true. */
export function translates(decoded: Decoded, context: Context): boolean {
  const { id, name } = decoded.instruction;
  if (isFloat(decoded)) return context.float && (MEMORY_FLOAT[id] ?? FLOAT_ARITHMETIC[id]) !== undefined;
  return name === 'jal' || name === 'jalr' || (INTEGER[id] ?? CONDITION[id] ?? MEMORY[id]) !== undefined;
}

/** The type of a region's function: see the head of this file. */
export const REGION: FunctionType = { parameters: [I32, I32], results: [I32, I64] };

/** The module of a region that will be known by `slot`. */
export function regionModule(blocks: readonly Block[], context: Context, places: Places, slot: number): Uint8Array {
  const region = new Region(blocks, context, places, slot);
  const { code, locals } = region.emit();
  return moduleOf({
    types: [REGION, { parameters: [F64, I32, I32], results: [I32] }, { parameters: [I32], results: [I32] }],
    functions: [
      { name: 'fill', type: 1 },
      { name: 'float', type: 2 },
    ],
    type: 0,
    locals,
    code,
  });
}

class Region {
  readonly #blocks: readonly Block[];
  readonly #byPc: ReadonlyMap<number, Block>;
  readonly #emitter: Emitter;
  readonly #slot: number;

  constructor(blocks: readonly Block[], context: Context, places: Places, slot: number) {
    this.#blocks = blocks;
    this.#byPc = new Map(blocks.map((block) => [block.pc, block]));
    this.#emitter = new Emitter(
      context,
      places,
      blocks.flatMap(({ instructions }) => instructions),
    );
    this.#slot = slot;
  }

  emit(): Pick<Emitter, 'code' | 'locals'> {
    const e = this.#emitter;
    const { code } = e;
    const count = this.#blocks.length;
    e.enter();
    code.open(op.loop); // again
    code.open(op.block); // leave
    code.open(op.block); // chain
    for (let i = 0; i < count; i++) code.open(op.block);
    code
      .get(ENTRY)
      .byte(op.brTable)
      .unsigned(count - 1);
    for (let i = 0; i < count; i++) code.unsigned(i); // the last is for every other number
    for (const block of this.#blocks) {
      code.byte(op.end);
      this.#block(block);
    }
    code.byte(op.end); // chain
    this.#chain();
    code.byte(op.end); // leave
    e.spill();
    code.get(LEFT_LOCAL).i32(2).byte(op.i32Shl).get(WHY).byte(op.i32Or).get(TARGET).byte(op.return);
    code.byte(op.end).ops(op.unreachable, op.end); // again
    return e;
  }

  /** Labels from the code of a block to chain. Those of the blocks behind it come first. */
  #toChain({ index }: Block): number {
    return this.#blocks.length - 1 - index;
  }

  #block(block: Block): void {
    const e = this.#emitter;
    const { code } = e;
    const { instructions } = block;
    const last = instructions.at(-1)!;
    const executes = translates(last, e.context);
    const count = executes ? instructions.length : instructions.length - 1;
    const toLeave = this.#toChain(block) + 1;
    const loops = this.#loopsItself(block, last);
    if (loops) e.open(op.loop);
    if (count > 0) {
      code.get(LEFT_LOCAL).i32(count).byte(op.i32Sub).tee(LEFT_LOCAL).i32(0).byte(op.i32LtS);
      e.open(op.if);
      e.at(block.pc, count, toLeave);
      e.leaveHere(BUDGET);
      e.close();
    }
    for (const [i, each] of instructions.slice(0, count).entries()) {
      e.at(each.pc, count - i, toLeave);
      if (each === last && this.#jumps(block, each, loops)) return;
      this.#instruction(each);
    }
    if (executes) this.#goTo(block, block.end);
    else {
      e.at(last.pc, 0, toLeave);
      e.leaveHere(STEP);
    }
  }

  /** Whether the block ends with a branch to its own beginning. */
  #loopsItself({ pc }: Block, last: Decoded): boolean {
    return last.instruction.format === 'B' && last.pc + last.imm === pc;
  }

  #instruction(d: Decoded): void {
    const e = this.#emitter;
    const { id } = d.instruction;
    const integer = INTEGER[id];
    if (integer) {
      if (d.rd === 0) return;
      integer(e, d);
      e.set(d.rd);
    } else (MEMORY[id] ?? MEMORY_FLOAT[id] ?? FLOAT_ARITHMETIC[id])!(e, d);
  }

  /** The code of the last instruction of a block; false if it is none that jumps. */
  #jumps(block: Block, d: Decoded, loops: boolean): boolean {
    const e = this.#emitter;
    const { code } = e;
    const condition = CONDITION[d.instruction.id];
    if (condition) {
      condition(e, d);
      if (loops) {
        code.branch(op.brIf, e.depth - 1);
        e.close();
      } else {
        e.open(op.if);
        this.#goTo(block, d.pc + d.imm);
        e.close();
      }
      this.#goTo(block, block.end);
      return true;
    }
    if (d.instruction.name === 'jal') {
      if (d.rd !== 0) {
        code.i64(block.end);
        e.set(d.rd);
      }
      this.#goTo(block, d.pc + d.imm);
      return true;
    }
    if (d.instruction.name !== 'jalr') return false;
    e.get(d.rs1);
    if (d.imm !== 0) code.i64(d.imm).byte(op.i64Add);
    code.i64(-2).byte(op.i64And).set(TARGET);
    if (d.rd !== 0) {
      code.i64(block.end);
      e.set(d.rd);
    }
    code.branch(op.br, this.#toChain(block) + e.depth);
    return true;
  }

  /** Control goes on at `pc`. */
  #goTo(from: Block, pc: number): void {
    const e = this.#emitter;
    const { code } = e;
    const to = this.#byPc.get(pc);
    if (!to) {
      code
        .i64(pc)
        .set(TARGET)
        .branch(op.br, this.#toChain(from) + e.depth);
    } else if (to.index > from.index) {
      // the end of the wasm block before it; the next block follows by itself
      if (to.index > from.index + 1 || e.depth > 0) code.branch(op.br, to.index - from.index - 1 + e.depth);
    } else {
      code
        .i32(to.index)
        .set(ENTRY)
        .branch(op.br, this.#toChain(from) + 2 + e.depth);
    }
  }

  /** Goes on at TARGET if that is in this region, too. */
  #chain(): void {
    const e = this.#emitter;
    const { code } = e;
    const { jumps } = e.places;
    jumpEntry(code, TARGET).tee(E);
    code.memory(op.i64Load, jumps).get(TARGET).byte(op.i64Eq).open(op.if);
    code
      .get(E)
      .memory(op.i32Load, jumps + JUMP_ENTRY)
      .set(ENTRY);
    code
      .get(E)
      .memory(op.i32Load, jumps + JUMP_SLOT)
      .i32(this.#slot)
      .byte(op.i32Eq);
    code.branch(op.brIf, 2); // again
    code.byte(op.end);
    code.i32(LOOKUP).set(WHY);
  }
}
