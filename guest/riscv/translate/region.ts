/**
 * Translates a region, the blocks that direct jumps connect, into one function:
 *
 *     (entry: number of a block, left: instructions that may be executed)
 *       → (what is left << WHY_BITS | why it returned, pc)
 *
 * Registers are locals. Blocks lie one after the other, in the order of flow.ts. So a jump forwards
 * is a branch out of the wasm blocks in between, and a jump backwards goes round a wasm loop
 * (loops.ts). An outermost loop begins with a jump table: here calls go, and jumps to a pc in a
 * register that the jump cache knows as a block of this region. With any other pc the function
 * returns.
 *
 * `left` is counted down by whole blocks. It is looked at where control goes backwards: the code
 * from there to the next such place is no longer than the region. So no more instructions are
 * executed than are allowed, and no loop runs for long.
 */
import { ATOMIC } from './atomic.ts';
import { CSRS, isQuiet } from './csr.ts';
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
  TARGET,
  WHY,
  WHY_BITS,
} from './emitter.ts';
import type { Decoded } from './fields.ts';
import { FLOAT_ARITHMETIC } from './float.ts';
import { inOrder } from './flow.ts';
import { CONDITION, INTEGER } from './integer.ts';
import { type Loops, loopsOf } from './loops.ts';
import { MEMORY, MEMORY_FLOAT } from './memory.ts';
import { TRAPS } from './trap.ts';
import { type Body, F64, type FunctionType, I32, I64, moduleOf, op } from './wasm.ts';
import { ENTRY_MASK, JUMP_ENTRY, JUMP_SLOT } from './workspace.ts';

const isFloat = ({ instruction }: Decoded): boolean => instruction.extension === 'F' || instruction.extension === 'D';

/** Whether the code of a region has this instruction, where `context` is true. */
export function translates(decoded: Decoded, context: Context): boolean {
  const { id, name } = decoded.instruction;
  if (isFloat(decoded)) return context.float && (MEMORY_FLOAT[id] ?? FLOAT_ARITHMETIC[id]) !== undefined;
  if (CSRS[id]) return isQuiet(decoded, context.counted);
  return name === 'jal' || name === 'jalr' || (INTEGER[id] ?? CONDITION[id] ?? MEMORY[id] ?? ATOMIC[id]) !== undefined;
}

/** The type of a region's function: see the head of this file. */
export const REGION: FunctionType = { parameters: [I32, I32], results: [I32, I64] };

/** The module of some regions, or of functions of their type. */
export const moduleOfRegions = (bodies: readonly Body[]): Uint8Array =>
  moduleOf({
    types: [
      REGION,
      { parameters: [F64, I32, I32], results: [I32] },
      { parameters: [I32], results: [I32] },
      { parameters: [I32, I32], results: [] },
    ],
    functions: [
      { name: 'fill', type: 1 },
      { name: 'float', type: 2 },
      { name: 'csr', type: 2 },
      { name: 'decode', type: 3 },
    ],
    type: 0,
    bodies,
  });

/** Blocks [first, end) that a jump forwards can reach as one: a block, or a loop. */
interface Item {
  readonly first: number;
  readonly end: number;
  readonly loop: boolean;
}

/** One region: what `slot` of the table is to be. */
export class Region {
  /** What must be left when it is entered: the instructions that it has. */
  readonly least: number;
  readonly #blocks: readonly Block[];
  readonly #byPc: ReadonlyMap<number, Block>;
  readonly #emitter: Emitter;
  readonly slot: number;
  readonly context: Context;
  readonly #loops: Loops;
  /** By block: the label before it, or before the loop around it that is not yet entered. */
  readonly #before: number[] = [];
  /** By block: whether that loop needs to know the block. */
  readonly #asks: boolean[] = [];
  /** By the first block of a loop that is open: its label. */
  readonly #heads = new Map<number, number>();
  #again = 0;
  #leave = 0;
  #chain = 0;

  constructor(blocks: readonly Block[], entry: number, context: Context, places: Places, slot: number) {
    const knows = (decoded: Decoded): boolean => translates(decoded, context);
    this.#blocks = inOrder(blocks, entry, knows);
    this.#byPc = new Map(this.#blocks.map((block) => [block.pc, block]));
    const instructions = blocks.flatMap((block) => block.instructions);
    this.#emitter = new Emitter(context, places, instructions);
    this.least = instructions.length;
    this.slot = slot;
    this.context = context;
    this.#loops = loopsOf(this.#blocks, entry, knows);
  }

  /** Blocks where it can be entered. */
  get entries(): readonly Block[] {
    return this.#blocks.filter(({ index }) => this.#loops.entries.has(index));
  }

  /** Its function. To be called once. */
  body(): Body {
    this.#emit();
    const { code, locals } = this.#emitter;
    return { code, locals };
  }

  #emit(): void {
    const e = this.#emitter;
    const { code } = e;
    e.enter();
    this.#again = e.open(op.loop);
    this.#leave = e.open(op.block);
    this.#chain = e.open(op.block);
    this.#sequence(0, this.#blocks.length);
    e.close(); // chain
    this.#lookUp();
    e.close(); // leave
    e.spill();
    code.get(LEFT_LOCAL).i32(WHY_BITS).byte(op.i32Shl).get(WHY).byte(op.i32Or).get(TARGET).byte(op.return);
    e.close(); // again
    code.ops(op.unreachable, op.end);
  }

  /** The code of blocks [first, end): all of them, or those of a loop. */
  #sequence(first: number, end: number): void {
    const e = this.#emitter;
    const items = this.#items(first, end);
    const labels = items
      .toReversed()
      .map(() => e.open(op.block))
      .toReversed();
    for (const [i, item] of items.entries()) {
      const asks = item.loop && this.#loops.isEnteredInside(item.first);
      for (let block = item.first; block < item.end; block++) {
        this.#before[block] = labels[i]!;
        this.#asks[block] = asks;
      }
    }
    this.#enterAt(first, end);
    for (const item of items) {
      e.close();
      if (item.loop) {
        this.#heads.set(item.first, e.open(op.loop));
        this.#sequence(item.first, item.end);
        e.close();
      } else this.#block(this.#blocks[item.first]!);
    }
  }

  #items(first: number, end: number): readonly Item[] {
    const items: Item[] = [];
    for (let at = first; at < end; ) {
      // a loop that begins here, unless it is the one whose items these are
      const loopEnd = this.#heads.has(at) && at === first ? undefined : this.#loops.ends.get(at);
      const item = { first: at, end: loopEnd ?? at + 1, loop: loopEnd !== undefined };
      items.push(item);
      at = item.end;
    }
    return items;
  }

  /** Goes to the block that ENTRY says, where it can be another one than the first. */
  #enterAt(first: number, end: number): void {
    const e = this.#emitter;
    const { code } = e;
    const whole = first === 0 && end === this.#blocks.length && !this.#heads.has(0);
    if (!whole && !this.#loops.isEnteredInside(first)) return;
    if (!whole) {
      code.get(ENTRY).i32(first).byte(op.i32Eq);
      e.branch(op.brIf, this.#before[first]!);
    }
    code
      .get(ENTRY)
      .i32(first)
      .byte(op.i32Sub)
      .byte(op.brTable)
      .unsigned(end - first - 1);
    for (let i = first; i < end; i++) code.unsigned(e.depthOf(this.#before[i]!));
  }

  #block(block: Block): void {
    const e = this.#emitter;
    const { instructions } = block;
    const last = instructions.at(-1)!;
    const executes = translates(last, e.context);
    const count = executes ? instructions.length : instructions.length - 1;
    if (count > 0) e.code.get(LEFT_LOCAL).i32(count).byte(op.i32Sub).set(LEFT_LOCAL);
    const step = e.open(op.block);
    let jumps = false;
    for (let i = 0; i < count; i++) {
      const each = instructions[i]!;
      e.at(each.pc - block.pc, count - i, step);
      jumps = each === last && this.#jumps(block, each);
      if (!jumps) this.#instruction(each);
    }
    if (executes && !jumps) this.#goTo(block, block.end);
    else if (!executes) {
      const traps = TRAPS[last.instruction.id];
      if (traps !== undefined) this.#exit(last.pc, traps);
      else {
        e.at(last.pc - block.pc, 0, step);
        e.step();
      }
    }
    e.close();
    e.leaveForStep(block.pc);
    e.branch(op.br, this.#leave);
  }

  #instruction(d: Decoded): void {
    const e = this.#emitter;
    const { id } = d.instruction;
    const integer = INTEGER[id];
    if (integer) {
      if (d.rd === 0) return;
      integer(e, d);
      e.set(d.rd);
    } else (MEMORY[id] ?? ATOMIC[id] ?? CSRS[id] ?? MEMORY_FLOAT[id] ?? FLOAT_ARITHMETIC[id])!(e, d);
  }

  /** The code of the last instruction of a block; false if it is none that jumps. */
  #jumps(block: Block, d: Decoded): boolean {
    const e = this.#emitter;
    const { code } = e;
    const condition = CONDITION[d.instruction.id];
    if (condition) {
      condition(e, d);
      e.open(op.if);
      this.#goTo(block, d.pc + d.imm);
      e.close();
      this.#goTo(block, block.end);
      return true;
    }
    const { name } = d.instruction;
    if (name !== 'jal' && name !== 'jalr') return false;
    if (name === 'jalr') {
      e.get(d.rs1);
      if (d.imm !== 0) code.i64(d.imm).byte(op.i64Add);
      code.i64(-2).byte(op.i64And).set(TARGET);
    }
    if (d.rd !== 0) {
      code.i64(block.end);
      e.set(d.rd);
    }
    if (name === 'jalr') e.branch(op.br, this.#chain);
    else if (d.rd === 0) this.#goTo(block, d.pc + d.imm);
    else this.#call(d.pc + d.imm);
    return true;
  }

  /** Control goes on at `pc`. */
  #goTo(from: Block, pc: number): void {
    const e = this.#emitter;
    const to = this.#byPc.get(pc);
    if (!to) this.#exit(pc);
    else if (to.index > from.index) {
      if (this.#asks[to.index]) e.code.i32(to.index).set(ENTRY);
      e.branch(op.br, this.#before[to.index]!);
    } else {
      this.#leaveIfShort(pc);
      const head = this.#heads.get(to.index);
      if (head === undefined || this.#loops.isEnteredInside(to.index)) e.code.i32(to.index).set(ENTRY);
      e.branch(op.br, head ?? this.#again);
    }
  }

  #call(pc: number): void {
    const e = this.#emitter;
    const to = this.#byPc.get(pc);
    if (!to) this.#exit(pc);
    else {
      this.#leaveIfShort(pc);
      e.code.i32(to.index).set(ENTRY);
      e.branch(op.br, this.#again);
    }
  }

  /** Control goes to code of another region, or to the dispatcher, for `why`. */
  #exit(pc: number, why: number = LOOKUP): void {
    const e = this.#emitter;
    e.code.i64(pc).set(TARGET).i32(why).set(WHY);
    e.branch(op.br, this.#leave);
  }

  /**
   * Leaves, to go on at `pc`, if too little is left for all that may come; TARGET has it if absent.
   */
  #leaveIfShort(pc?: number): void {
    const e = this.#emitter;
    const { code } = e;
    code.get(LEFT_LOCAL).i32(this.least).byte(op.i32LtS);
    e.open(op.if);
    if (pc !== undefined) code.i64(pc).set(TARGET);
    code.i32(BUDGET).set(WHY);
    e.branch(op.br, this.#leave);
    e.close();
  }

  /** Goes on at TARGET if that is in this region, too. */
  #lookUp(): void {
    const e = this.#emitter;
    const { code } = e;
    const { jumps } = e.places;
    jumpEntry(code, TARGET).tee(E);
    code.memory(op.i64Load, jumps).get(TARGET).byte(op.i64Eq);
    code
      .get(E)
      .memory(op.i32Load, jumps + JUMP_SLOT)
      .i32(this.slot)
      .ops(op.i32Eq, op.i32And);
    e.open(op.if);
    this.#leaveIfShort();
    code
      .get(E)
      .memory(op.i32Load, jumps + JUMP_ENTRY)
      .i32(ENTRY_MASK)
      .byte(op.i32And)
      .set(ENTRY);
    e.branch(op.br, this.#again);
    e.close();
    code.i32(LOOKUP).set(WHY);
  }
}
