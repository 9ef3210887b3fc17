/**
 * The loop that goes from one region to the next, as one wasm function. It returns when the jump
 * cache does not know the next one, or when a region returned for another reason.
 */
import { BUDGET, type HOT, jumpEntry, LOOKUP, type STEP } from './emitter.ts';
import { REGION } from './region.ts';
import { Code, I32, I64, moduleOf, op } from './wasm.ts';
import { ENTRY_MASK, JUMP_ENTRY, JUMP_SLOT, LEAST_SHIFT, LEFT, PC, PC_BITS, type Workspace } from './workspace.ts';

export type Why = typeof LOOKUP | typeof BUDGET | typeof STEP | typeof HOT;

/**
 * Enters the region in `slot` of the table at `entry`, with so many instructions to execute;
 * `jumps` is the address of the jump cache. The pc, for cold code, and what is left are in the
 * workspace, before and then.
 */
export type Dispatch = (entry: number, left: number, slot: number, jumps: number) => Why;

const ENTRY = 0;
const REST = 1;
const SLOT = 2;
const JUMPS = 3;
const RESULT = 4;
const E = 5;
const TARGET = 6;

export function dispatcher({ at, memory }: Workspace, table: WebAssembly.Table): Dispatch {
  const code = new Code();
  code.open(op.loop);
  code.get(ENTRY).get(REST).get(SLOT).byte(op.callIndirect).unsigned(0).unsigned(0).set(TARGET).tee(RESULT);
  code.i32(2).byte(op.i32ShrU).set(REST);
  code.get(RESULT).i32(3).byte(op.i32And).i32(LOOKUP).byte(op.i32Eq).open(op.if);
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
  code.get(RESULT).i32(3).byte(op.i32And).byte(op.end);
  const bytes = moduleOf({
    types: [REGION, { parameters: [I32, I32, I32, I32], results: [I32] }],
    functions: [],
    type: 1,
    bodies: [
      {
        locals: [
          [2, I32],
          [1, I64],
        ],
        code,
      },
    ],
    table: true,
  });
  return new WebAssembly.Instance(new WebAssembly.Module(bytes), { e: { memory, table } }).exports[0] as Dispatch;
}
