import { fetchParcel, load, store } from './access.ts';
import { accessFloat, LOOK, TRAPPED } from './access-float.ts';
import { bitsOf } from './address.ts';
import { executeAtomic, ILLEGAL_ATOMIC } from './atomic.ts';
import { expand } from './compressed.ts';
import type { Core } from './core.ts';
import { executeFloat } from './execute-float.ts';
import { executeOp, executeOp32, executeOpImm, executeOpImm32 } from './integer.ts';
import * as isa from './isa.ts';
import { type AccessSize, isExact } from './memory.ts';
import { FETCH, LOAD, STORE } from './pmp.ts';
import { executeSystem } from './system.ts';
import { jump, raise } from './trap.ts';

/**
 * Expansions of the 16-bit instructions met so far, indexed by their bits; 0 = not met. (To expand
 * all of them at once costs 40 ms of start-up.)
 */
const expanded = new Int32Array(0x1_0000);
const u64 = (value: bigint): bigint => BigInt.asUintN(64, value);

/**
 * The word that FENCE adds 0 to. V8 moves no access across a sequentially consistent
 * read-modify-write, and x86 and arm64 make it a barrier, whatever the word. The word is not in
 * shared memory, because the VMM's program must fit a heap snapshot (vmm/program/snapshot.ts).
 */
const fenceWord = new Int32Array(1);

/**
 * x[rd] ← a pc or a pc-relative address. It is written as two halves, because BigInt() of a number
 * that is no int32 is a call into the runtime.
 */
function writeNumber(halves: Int32Array, rd: number, value: number): void {
  halves[2 * rd] = value; // ToInt32: modulo 2^32
  halves[2 * rd + 1] = Math.floor(value / 0x1_0000_0000);
}

/** The instruction at `pc` as it was fetched. */
function fetched(core: Core, pc: number, length: number): bigint {
  const low = fetchParcel(core, pc) ?? 0;
  return BigInt(length === 2 ? low : (fetchParcel(core, pc + 2) ?? 0) * 0x1_0000 + low);
}

/**
 * Executes at most `budget` instructions and returns how many were begun. It returns early after an
 * instruction that may change which interrupt is taken or how memory is reached: a trap, a CSR
 * access, xRET, SFENCE.VMA, WFI, or a store to a device. Where time is counted by instructions, a
 * load from a device is such an instruction, too, and a device that is accessed finds csr.begun
 * exact.
 *
 * HOT, 16–24 ns an instruction once compiled (Node 20–26): one loop, one switch, no calls on the
 * common paths. Opcodes and functs are literals (V8 makes jump tables of those only), named as in
 * unpriv-isa §35 "RV32/64G Instruction Set Listings". There is no decode cache (predecoding gained
 * nothing in a prototype with 32-bit halves), so code that has been written is seen at once, and
 * FENCE.I is for a translator only.
 */
export function execute(core: Core, budget: number): number {
  core.look();
  const { x, halves, memory, csr, paged, codePaged } = core;
  const { base, u8, u16, i32, i64: d64 } = memory;
  // an access of up to 8 bytes that begins at or below these offsets is wholly in RAM
  const fast = memory.lastLoad;
  const fastStore = memory.lastStore;
  const start = csr.begun;
  // only a CSR access or a trap changes it, and both end this function's work
  const floatOn = (csr.mstatus & isa.MSTATUS_FS) !== 0;
  // loads and stores of the present mode; fetches
  const tlb = core.mmu.tlb(core.dataMode, csr.mstatus);
  const codeTlb = core.mmu.tlb(csr.mode, csr.mstatus);
  // Code from here lies in RAM at pc - codeDelta, while that is in [codeStart, codeLast]: all of
  // RAM, or a page. codeLast leaves room for 4 bytes.
  let codeDelta = base;
  let codeStart = 0;
  let codeLast = codePaged ? -1 : fast;
  let { pc } = core;
  let limit = budget;
  let begun = 0;

  while (begun < limit) {
    // Fetch: one parcel of 16 bits, a second one if its low bits are 11 (unpriv-isa §1.5).
    let insn: number;
    let next: number;
    let at = pc - codeDelta;
    if (at >= codeStart && at <= codeLast) {
      const parcel = u16[at >>> 1]!;
      if ((parcel & 3) === 3) {
        insn = parcel | (u16[(at >>> 1) + 1]! << 16);
        next = pc + 4;
      } else {
        insn = expanded[parcel]!;
        if (insn === 0) insn = expanded[parcel] = expand(parcel);
        next = pc + 2;
      }
    } else {
      const offset = codePaged ? codeTlb.find(FETCH, pc, pc | 0) : -1;
      if (offset >= 0 && (offset & 0xfff) <= 0xffc) {
        codeDelta = pc - offset;
        codeStart = offset - (offset & 0xfff);
        codeLast = codeStart + 0xffc;
        continue;
      }
      if (memory.journal) limit = begun; // the journal may close after this instruction
      csr.begun = start + begun;
      const parcel = fetchParcel(core, pc);
      const upper = parcel !== undefined && (parcel & 3) === 3 ? fetchParcel(core, pc + 2) : 0;
      if (parcel === undefined || upper === undefined) {
        begun++;
        raise(core, core.fault.cause, bitsOf(parcel === undefined ? pc : pc + 2), bitsOf(pc));
        pc = core.pc;
        limit = begun;
        continue;
      }
      insn = (parcel & 3) === 3 ? parcel | (upper << 16) : expand(parcel);
      next = (parcel & 3) === 3 ? pc + 4 : pc + 2;
    }
    begun++;

    const rd = (insn >>> 7) & 31;
    const rs1 = (insn >>> 15) & 31;
    const rs2 = (insn >>> 20) & 31;
    const funct3 = (insn >>> 12) & 7;

    let legal = true;
    switch ((insn >>> 2) & 31) {
      case 0x04: // OP-IMM
        legal = executeOpImm(core, insn);
        break;

      // LOAD: rd ← [rs1 + imm], whole accesses of RAM when aligned
      case 0x00: {
        const vaddr = halves[2 * rs1 + 1]! * 0x1_0000_0000 + (halves[2 * rs1]! >>> 0) + (insn >> 20);
        at = paged ? tlb.find(LOAD, vaddr, halves[2 * rs1]! + (insn >> 20)) : vaddr - base;
        if (at >= 0 && at <= fast) {
          switch (funct3) {
            case 3: // LD
              if (at & 7) break;
              x[rd] = d64[at >>> 3]!;
              x[0] = 0n;
              pc = next;
              continue;
            case 2: // LW
              if (at & 3) break;
              x[rd] = BigInt(i32[at >>> 2]!);
              x[0] = 0n;
              pc = next;
              continue;
            case 0: // LB
              x[rd] = BigInt((u8[at >>> 0]! << 24) >> 24);
              x[0] = 0n;
              pc = next;
              continue;
            case 1: // LH
              if (at & 1) break;
              x[rd] = BigInt((u16[at >>> 1]! << 16) >> 16);
              x[0] = 0n;
              pc = next;
              continue;
            case 4: // LBU
              x[rd] = BigInt(u8[at >>> 0]!);
              x[0] = 0n;
              pc = next;
              continue;
            case 5: // LHU
              if (at & 1) break;
              x[rd] = BigInt(u16[at >>> 1]!);
              x[0] = 0n;
              pc = next;
              continue;
            case 6: // LWU
              if (at & 3) break;
              x[rd] = BigInt(i32[at >>> 2]! >>> 0);
              x[0] = 0n;
              pc = next;
              continue;
          }
        }
        // misaligned accesses, devices, pages that are not in the TLB
        if (funct3 === 7) {
          legal = false;
          break;
        }
        csr.begun = start + begun - 1;
        const value = load(core, vaddr, (1 << (funct3 & 3)) as AccessSize);
        if (value === undefined) {
          raise(core, core.fault.cause, u64(x[rs1]! + BigInt((insn >> 20) + core.fault.offset)), bitsOf(pc));
          pc = core.pc;
          limit = begun;
          continue;
        }
        x[rd] = funct3 & 4 ? value : BigInt.asIntN(8 << (funct3 & 3), value);
        // the journal may close now; a device may have dropped or raised a line, at an exact time
        if ((memory.journal || csr.counted) && (at < 0 || at > fast)) limit = begun;
        break;
      }

      // BRANCH
      case 0x18: {
        let taken = false;
        switch (funct3) {
          case 0: // BEQ
            taken = x[rs1]! === x[rs2]!;
            break;
          case 1: // BNE
            taken = x[rs1]! !== x[rs2]!;
            break;
          case 4: // BLT
            taken = x[rs1]! < x[rs2]!;
            break;
          case 5: // BGE
            taken = x[rs1]! >= x[rs2]!;
            break;
          case 6: // BLTU
            taken = u64(x[rs1]!) < u64(x[rs2]!);
            break;
          case 7: // BGEU
            taken = u64(x[rs1]!) >= u64(x[rs2]!);
            break;
          default:
            legal = false;
        }
        if (taken) {
          pc += ((insn >> 31) << 12) | ((insn << 4) & 0x800) | ((insn >> 20) & 0x7e0) | ((insn >> 7) & 0x1e);
          continue;
        }
        break;
      }

      // STORE: [rs1 + imm] ← rs2
      case 0x08: {
        const imm = ((insn >> 25) << 5) | rd;
        const vaddr = halves[2 * rs1 + 1]! * 0x1_0000_0000 + (halves[2 * rs1]! >>> 0) + imm;
        at = paged ? tlb.find(STORE, vaddr, halves[2 * rs1]! + imm) : vaddr - base;
        if (at >= 0 && at <= fastStore) {
          switch (funct3) {
            case 3: // SD
              if (at & 7) break;
              d64[at >>> 3] = x[rs2]!;
              pc = next;
              continue;
            case 2: // SW
              if (at & 3) break;
              i32[at >>> 2] = halves[2 * rs2]!;
              pc = next;
              continue;
            case 1: // SH
              if (at & 1) break;
              u16[at >>> 1] = halves[2 * rs2]!;
              pc = next;
              continue;
            case 0: // SB
              u8[at >>> 0] = halves[2 * rs2]!;
              pc = next;
              continue;
          }
        }
        if (funct3 > 3) {
          legal = false;
          break;
        }
        const size = (1 << funct3) as AccessSize;
        if (memory.journal && (at & (size - 1)) === 0 && at >= 0 && at <= fast) {
          memory.storeRegister(memory.journal, at, size, halves[2 * rs2]!, halves[2 * rs2 + 1]!);
          pc = next;
          continue;
        }
        // misaligned accesses, devices, pages that are not in the TLB
        csr.begun = start + begun - 1;
        if (!store(core, vaddr, size, x[rs2]!)) {
          raise(core, core.fault.cause, u64(x[rs1]! + BigInt(imm + core.fault.offset)), bitsOf(pc));
          pc = core.pc;
          limit = begun;
          continue;
        }
        // a device may have raised or dropped a line; page-table entries may have been written, too
        if (at < 0 || at > fast || memory.journal) limit = begun;
        break;
      }

      case 0x0c: // OP
        legal = executeOp(core, insn);
        break;

      // LUI
      case 0x0d:
        x[rd] = BigInt(insn & ~0xfff);
        break;

      // AUIPC
      case 0x05:
        writeNumber(halves, rd, pc + (insn & ~0xfff));
        break;

      // JAL
      case 0x1b:
        writeNumber(halves, rd, next);
        x[0] = 0n;
        pc += ((insn >> 31) << 20) | (insn & 0xff000) | ((insn >> 9) & 0x800) | ((insn >> 20) & 0x7fe);
        continue;

      // JALR: the low bit of the target is cleared
      case 0x19: {
        if (funct3 !== 0) {
          legal = false;
          break;
        }
        const imm = insn >> 20;
        const target = halves[2 * rs1 + 1]! * 0x1_0000_0000 + (halves[2 * rs1]! >>> 0) + imm;
        if (isExact(target)) {
          pc = target - ((halves[2 * rs1]! + imm) & 1);
        } else {
          jump(core, u64(x[rs1]! + BigInt(imm)) & ~1n);
          pc = core.pc;
          limit = begun;
        }
        writeNumber(halves, rd, next);
        x[0] = 0n;
        continue;
      }

      case 0x06: // OP-IMM-32
        legal = executeOpImm32(core, insn);
        break;

      case 0x0e: // OP-32
        legal = executeOp32(core, insn);
        break;

      case 0x01: // LOAD-FP
      case 0x09: // STORE-FP
        if (!floatOn || (funct3 !== 2 && funct3 !== 3)) {
          legal = false;
          break;
        }
        core.pc = pc;
        csr.begun = start + begun - 1;
        switch (accessFloat(core, insn)) {
          case TRAPPED:
            pc = core.pc;
            limit = begun;
            continue;
          case LOOK:
            limit = begun;
        }
        break;

      case 0x10: // MADD
      case 0x11: // MSUB
      case 0x12: // NMSUB
      case 0x13: // NMADD
      case 0x14: // OP-FP
        legal = floatOn && executeFloat(core, insn);
        if (legal) csr.mstatus |= isa.MSTATUS_FS;
        break;

      // AMO
      case 0x0b: {
        if (memory.journal) limit = begun;
        const cause = executeAtomic(core, insn);
        if (cause === ILLEGAL_ATOMIC) {
          legal = false;
          break;
        }
        if (cause !== 0) {
          raise(core, cause, u64(x[rs1]!), bitsOf(pc));
          pc = core.pc;
          limit = begun;
          continue;
        }
        break;
      }

      // MISC-MEM
      case 0x03:
        if (funct3 > 1) {
          legal = false;
          break;
        }
        if (funct3 === 0)
          Atomics.add(fenceWord, 0, 0); // FENCE
        else core.codeFences++; // FENCE.I
        break;

      // SYSTEM
      case 0x1c:
        core.pc = pc;
        // what mcycle and minstret count: the instructions before this one
        csr.begun = start + begun - 1;
        executeSystem(core, insn, next);
        x[0] = 0n;
        pc = core.pc;
        limit = begun; // look at the interrupts again
        continue;

      default:
        legal = false;
    }
    if (legal) {
      x[0] = 0n;
      pc = next;
      continue;
    }
    // mtval holds the instruction as it was fetched (priv-isa §3.1.16)
    raise(core, isa.CAUSE_ILLEGAL_INSTRUCTION, fetched(core, pc, next - pc), bitsOf(pc));
    pc = core.pc;
    limit = begun;
  }
  core.pc = pc;
  csr.begun = start + begun;
  return begun;
}
