/**
 * Writes WebAssembly in its binary format (core specification 2.0, "Binary Format"; the proposal
 * "threads"): the instructions of one function, and the module around it.
 */

export const I32 = 0x7f;
export const I64 = 0x7e;
export const F32 = 0x7d;
export const F64 = 0x7c;
export type ValueType = typeof I32 | typeof I64 | typeof F32 | typeof F64;

/** The opcodes that the translator emits, under the specification's names. */
export const op = {
  unreachable: 0x00,
  block: 0x02,
  loop: 0x03,
  if: 0x04,
  else: 0x05,
  end: 0x0b,
  br: 0x0c,
  brIf: 0x0d,
  brTable: 0x0e,
  return: 0x0f,
  call: 0x10,
  callIndirect: 0x11,
  drop: 0x1a,
  select: 0x1b,
  localGet: 0x20,
  localSet: 0x21,
  localTee: 0x22,
  i32Load: 0x28,
  i64Load: 0x29,
  f32Load: 0x2a,
  f64Load: 0x2b,
  i32Load8U: 0x2d,
  i32Load16U: 0x2f,
  i64Load8S: 0x30,
  i64Load8U: 0x31,
  i64Load16S: 0x32,
  i64Load16U: 0x33,
  i64Load32S: 0x34,
  i64Load32U: 0x35,
  i32Store: 0x36,
  i64Store: 0x37,
  f32Store: 0x38,
  f64Store: 0x39,
  i64Store8: 0x3c,
  i64Store16: 0x3d,
  i64Store32: 0x3e,
  i32Const: 0x41,
  i64Const: 0x42,
  f64Const: 0x44,
  i32Eqz: 0x45,
  i32Eq: 0x46,
  i32Ne: 0x47,
  i32LtS: 0x48,
  i32LtU: 0x49,
  i32GtU: 0x4b,
  i32LeU: 0x4d,
  i64Eqz: 0x50,
  i64Eq: 0x51,
  i64Ne: 0x52,
  i64LtS: 0x53,
  i64LtU: 0x54,
  i64GtS: 0x55,
  i64GtU: 0x56,
  i64GeS: 0x59,
  i64GeU: 0x5a,
  f32Eq: 0x5b,
  f32Ne: 0x5c,
  f32Lt: 0x5d,
  f32Gt: 0x5e,
  f32Le: 0x5f,
  f64Eq: 0x61,
  f64Ne: 0x62,
  f64Lt: 0x63,
  f64Gt: 0x64,
  f64Le: 0x65,
  f64Ge: 0x66,
  i32Clz: 0x67,
  i32Ctz: 0x68,
  i32Popcnt: 0x69,
  i32Add: 0x6a,
  i32Sub: 0x6b,
  i32Mul: 0x6c,
  i32DivS: 0x6d,
  i32DivU: 0x6e,
  i32RemS: 0x6f,
  i32RemU: 0x70,
  i32And: 0x71,
  i32Or: 0x72,
  i32Shl: 0x74,
  i32ShrS: 0x75,
  i32ShrU: 0x76,
  i32Rotl: 0x77,
  i32Rotr: 0x78,
  i64Clz: 0x79,
  i64Ctz: 0x7a,
  i64Popcnt: 0x7b,
  i64Add: 0x7c,
  i64Sub: 0x7d,
  i64Mul: 0x7e,
  i64DivS: 0x7f,
  i64DivU: 0x80,
  i64RemS: 0x81,
  i64RemU: 0x82,
  i64And: 0x83,
  i64Or: 0x84,
  i64Xor: 0x85,
  i64Shl: 0x86,
  i64ShrS: 0x87,
  i64ShrU: 0x88,
  i64Rotl: 0x89,
  i64Rotr: 0x8a,
  f32Sqrt: 0x91,
  f32Add: 0x92,
  f32Sub: 0x93,
  f32Mul: 0x94,
  f32Div: 0x95,
  f64Abs: 0x99,
  f64Neg: 0x9a,
  f64Sqrt: 0x9f,
  f64Add: 0xa0,
  f64Sub: 0xa1,
  f64Mul: 0xa2,
  f64Div: 0xa3,
  i32WrapI64: 0xa7,
  i32TruncF64S: 0xaa,
  i64ExtendI32S: 0xac,
  i64ExtendI32U: 0xad,
  i64TruncF64S: 0xb0,
  f32DemoteF64: 0xb6,
  f64ConvertI32S: 0xb7,
  f64ConvertI32U: 0xb8,
  f64ConvertI64S: 0xb9,
  f64PromoteF32: 0xbb,
  i32ReinterpretF32: 0xbc,
  i64ReinterpretF64: 0xbd,
  f64ReinterpretI64: 0xbf,
  i64Extend8S: 0xc2,
  i64Extend16S: 0xc3,
  i64Extend32S: 0xc4,
} as const;

const ATOMIC = 0xfe;
/** Behind the prefix 0xfe (threads proposal). */
export const atomic = {
  fence: 0x03,
  i64Load: 0x11,
  i64Load32U: 0x16,
  i64RmwAdd: 0x1f,
  i64Rmw32Add: 0x24,
  i64RmwAnd: 0x2d,
  i64Rmw32And: 0x32,
  i64RmwOr: 0x34,
  i64Rmw32Or: 0x39,
  i64RmwXor: 0x3b,
  i64Rmw32Xor: 0x40,
  i64RmwXchg: 0x42,
  i64Rmw32Xchg: 0x47,
  i64RmwCmpxchg: 0x49,
  i64Rmw32Cmpxchg: 0x4e,
} as const;

const NO_RESULT = 0x40;

/** A growing sequence of bytes: the body of a function, or a part of a module. */
export class Code {
  #bytes = new Uint8Array(1024);
  #length = 0;

  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  get length(): number {
    return this.#length;
  }

  byte(value: number): this {
    if (this.#length === this.#bytes.length) this.#grow(this.#length + 1);
    this.#bytes[this.#length++] = value;
    return this;
  }

  append(bytes: ArrayLike<number>): this {
    if (this.#length + bytes.length > this.#bytes.length) this.#grow(this.#length + bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
    return this;
  }

  #grow(least: number): void {
    const larger = new Uint8Array(Math.max(2 * this.#bytes.length, least));
    larger.set(this.#bytes);
    this.#bytes = larger;
  }

  /** Opcodes without immediates. */
  ops(...opcodes: readonly number[]): this {
    for (const each of opcodes) this.byte(each);
    return this;
  }

  /** Unsigned LEB128 of an integer below 2^53. */
  unsigned(value: number): this {
    let rest = value;
    while (rest >= 128) {
      this.byte((rest % 128) | 128);
      rest = Math.floor(rest / 128);
    }
    return this.byte(rest);
  }

  /** Signed LEB128 of an exact integer. */
  signed(value: number): this {
    let rest = value;
    while (rest < -64 || rest >= 64) {
      this.byte((((rest % 128) + 128) % 128) | 128);
      rest = Math.floor(rest / 128);
    }
    return this.byte(rest & 127);
  }

  i32(value: number): this {
    return this.byte(op.i32Const).signed(value | 0);
  }

  /** `value` is exact: below 2^53 in magnitude. */
  i64(value: number): this {
    return this.byte(op.i64Const).signed(value);
  }

  /** Any 64 bits. */
  i64Bits(value: bigint): this {
    this.byte(op.i64Const);
    let rest = BigInt.asIntN(64, value);
    while (rest < -64n || rest >= 64n) {
      this.byte(Number(rest & 127n) | 128);
      rest >>= 7n;
    }
    return this.byte(Number(rest & 127n));
  }

  f64(value: number): this {
    return this.byte(op.f64Const).append(new Uint8Array(Float64Array.of(value).buffer));
  }

  get(local: number): this {
    return this.byte(op.localGet).unsigned(local);
  }

  set(local: number): this {
    return this.byte(op.localSet).unsigned(local);
  }

  tee(local: number): this {
    return this.byte(op.localTee).unsigned(local);
  }

  /** A load or store at the address on the stack + `offset`; no alignment is promised. */
  memory(opcode: number, offset: number): this {
    return this.byte(opcode).byte(0).unsigned(offset);
  }

  /** An atomic access; 2^align is its size. */
  atomic(opcode: number, align: number, offset: number): this {
    return this.byte(ATOMIC).byte(opcode).byte(align).unsigned(offset);
  }

  memoryFill(): this {
    return this.append([0xfc, 0x0b, 0]);
  }

  fence(): this {
    return this.byte(ATOMIC).byte(atomic.fence).byte(0);
  }

  /** block, loop or if without parameters; with a result where one is named. */
  open(opcode: number, result: ValueType | typeof NO_RESULT = NO_RESULT): this {
    return this.byte(opcode).byte(result);
  }

  /** br or br_if. */
  branch(opcode: number, depth: number): this {
    return this.byte(opcode).unsigned(depth);
  }
}

export interface FunctionType {
  readonly parameters: readonly ValueType[];
  readonly results: readonly ValueType[];
}

/** Of a function. */
export interface Body {
  /** Beyond the parameters, as runs. */
  readonly locals: readonly (readonly [count: number, type: ValueType])[];
  readonly code: Code;
}

export interface ModuleParts {
  /** Types by number. */
  readonly types: readonly FunctionType[];
  /** Imported as e.<name>, with the number of their type; they are functions 0… */
  readonly functions: readonly { readonly name: string; readonly type: number }[];
  /** The functions of the module are of this type. They are exported as 0, 1, … */
  readonly type: number;
  readonly bodies: readonly Body[];
  /**
   * Imports e.table. Node 20 keeps a copy of the table for each instance that does: costs of all in
   * time and memory grow with their square.
   */
  readonly table?: true;
}

/** A module. It imports e.memory. */
export function moduleOf(parts: ModuleParts): Uint8Array {
  const module = new Code().append([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
  const section = (id: number, count: number, body: Code): void => {
    const counted = new Code().unsigned(count).append(body.bytes);
    module.byte(id).unsigned(counted.length).append(counted.bytes);
  };
  const name = (code: Code, text: string): Code => code.unsigned(text.length).append(Buffer.from(text, 'latin1'));

  const types = new Code();
  for (const { parameters, results } of parts.types) {
    types.byte(0x60).unsigned(parameters.length).append(parameters).unsigned(results.length).append(results);
  }
  section(1, parts.types.length, types);

  // any shared memory; a table of any size
  const imports = new Code();
  name(name(imports, 'e'), 'memory').byte(2).byte(3).unsigned(1).unsigned(65536);
  if (parts.table) name(name(imports, 'e'), 'table').byte(1).byte(0x70).byte(0).unsigned(0);
  for (const each of parts.functions) name(name(imports, 'e'), each.name).byte(0).unsigned(each.type);
  section(2, 1 + (parts.table ? 1 : 0) + parts.functions.length, imports);

  const { bodies } = parts;
  const functions = new Code();
  const exported = new Code();
  const codes = new Code();
  for (const [i, { locals, code }] of bodies.entries()) {
    functions.unsigned(parts.type);
    name(exported, `${i}`)
      .byte(0)
      .unsigned(parts.functions.length + i);
    const body = new Code().unsigned(locals.length);
    for (const [count, type] of locals) body.unsigned(count).byte(type);
    body.append(code.bytes);
    codes.unsigned(body.length).append(body.bytes);
  }
  section(3, bodies.length, functions);
  section(7, bodies.length, exported);
  section(10, bodies.length, codes);
  return module.bytes;
}
