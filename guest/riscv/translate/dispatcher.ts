/**
 * The loop that goes from one region to the next, as one wasm function. It returns when the jump
 * cache does not know the next one, or when a region returned for another reason.
 */
import { BUDGET, HOT, jumpEntry, LOOKUP, type STEP, WHY_BITS } from './emitter.ts';
import { REGION } from './region.ts';
import { emitTrap } from './trap.ts';
import { Code, I32, I64, moduleOf, op } from './wasm.ts';
import { ENTRY_MASK, JUMP_ENTRY, JUMP_SLOT, LEAST_SHIFT, LEFT, PC, PC_BITS, type Workspace } from './workspace.ts';

export type Why = typeof LOOKUP | typeof BUDGET | typeof STEP | typeof HOT;

/**
 * Enters the region in `slot` of the table at `entry`, with so many instructions to execute;
 * `jumps` is the address of the jump cache. The pc, for cold code, what is left and the jump cache
 * are in the workspace, before and then: traps change the context.
 */
export type Dispatch = (entry: number, left: number, slot: number, jumps: number) => Why;

const ENTRY = 0;
const REST = 1;
const SLOT = 2;
const JUMPS = 3;
const RESULT = 4;
const E = 5;
const TARGET = 6; // behind it those of trap.ts
const TRAP_LOCALS = { mode: 7, status: 8, base: 9, newMode: 10, newStatus: 11, newJumps: 12 };
const WHY_MASK = (1 << WHY_BITS) - 1;

export function dispatcher({ at, memory }: Workspace, table: WebAssembly.Table): Dispatch {
  const code = new Code();
  code.open(op.loop);
  code.get(ENTRY).get(REST).get(SLOT).byte(op.callIndirect).unsigned(0).unsigned(0).set(TARGET).tee(RESULT);
  code.i32(WHY_BITS).byte(op.i32ShrU).set(REST);
  code.get(RESULT).i32(WHY_MASK).byte(op.i32And).tee(RESULT).i32(HOT).byte(op.i32GtU).open(op.if);
  emitTrap(code, at, { ...TRAP_LOCALS, why: RESULT, rest: REST, jumps: JUMPS, target: TARGET });
  code.byte(op.end);
  code.get(RESULT).i32(LOOKUP).byte(op.i32Eq).open(op.if);
  jumpEntry(code, TARGET).get(JUMPS).byte(op.i32Add).tee(E);
  code.memory(op.i64Load, 0).get(TARGET).byte(op.i64Eq).open(op.if);
  code.get(E).memory(op.i32Load, JUMP_ENTRY).tee(ENTRY).i32(LEAST_SHIFT).byte(op.i32ShrU).get(REST).byte(op.i32GtU);
  code.open(op.if).i32(BUDGET).set(RESULT).branch(op.br, 2).byte(op.end);
  code
    .i32(0)
    .get(TARGET)
    .memory(op.i64Store, at + PC_BITS); // where cold code goes on
  code.get(ENTRY).i32(ENTRY_MASK).byte(op.i32And).set(ENTRY);
  code.get(E).memory(op.i32Load, JUMP_SLOT).set(SLOT);
  code.branch(op.br, 2);
  code.ops(op.end, op.end, op.end);
  code
    .i32(0)
    .get(TARGET)
    .byte(op.f64ConvertI64S)
    .memory(op.f64Store, at + PC);
  code
    .i32(0)
    .get(TARGET)
    .memory(op.i64Store, at + PC_BITS);
  code
    .i32(0)
    .get(REST)
    .memory(op.i32Store, at + LEFT);
  code.get(RESULT).byte(op.end);
  const bytes = moduleOf({
    types: [REGION, { parameters: [I32, I32, I32, I32], results: [I32] }],
    functions: [],
    type: 1,
    bodies: [
      {
        locals: [
          [2, I32],
          [1, I64],
          [6, I32],
        ],
        code,
      },
    ],
    table: true,
  });
  return new WebAssembly.Instance(new WebAssembly.Module(bytes), { e: { memory, table } }).exports[0] as Dispatch;
}
