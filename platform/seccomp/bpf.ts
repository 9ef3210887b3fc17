/**
 * Programs for seccomp(2) (Documentation/userspace-api/seccomp_filter.rst): classic BPF over struct
 * seccomp_data. Jumps name labels; this file turns them into distances.
 */

/** linux/bpf_common.h, linux/filter.h. */
const BPF_LD_W_ABS = 0x20;
const BPF_ALU_AND_K = 0x54;
const BPF_JMP_JEQ_K = 0x15;
const BPF_JMP_JSET_K = 0x45;
const BPF_RET_K = 0x06;

/** linux/seccomp.h. */
const SECCOMP_RET_ALLOW = 0x7fff_0000;
const SECCOMP_RET_USER_NOTIF = 0x7fc0_0000;
const SECCOMP_RET_ERRNO = 0x0005_0000;

/** struct seccomp_data. */
const NR = 0;
const ARCH = 4;
const ARGS = 16;

const MAX_JUMP = 255;
const INSTRUCTION_BYTES = 8;

export interface Instruction {
  readonly code: number;
  readonly k: number;
  /** The labels to go on at; the next instruction where there is none. */
  readonly ifTrue?: string;
  readonly ifFalse?: string;
}

/** A label of the instruction that follows it. */
export interface Label {
  readonly label: string;
}

export const label = (name: string): Label => ({ label: name });
export const loadNr: Instruction = { code: BPF_LD_W_ABS, k: NR };
export const loadArch: Instruction = { code: BPF_LD_W_ABS, k: ARCH };
/** Argument `n` of the call, its lower or upper 32 bits. */
export const loadArg = (n: number, half: 'low' | 'high'): Instruction => ({
  code: BPF_LD_W_ABS,
  k: ARGS + 8 * n + (half === 'high' ? 4 : 0),
});
export const and = (mask: number): Instruction => ({ code: BPF_ALU_AND_K, k: mask });
export const ifEqual = (value: number, ifTrue: string, ifFalse?: string): Instruction => ({
  ...{ code: BPF_JMP_JEQ_K, k: value, ifTrue },
  ...(ifFalse === undefined ? {} : { ifFalse }),
});
export const unlessEqual = (value: number, ifFalse: string): Instruction => ({
  code: BPF_JMP_JEQ_K,
  k: value,
  ifFalse,
});
/** Goes to `ifTrue` when any of these bits is set. */
export const ifAnyBit = (bits: number, ifTrue: string): Instruction => ({ code: BPF_JMP_JSET_K, k: bits, ifTrue });
/** The call goes on as if there were no filter. */
export const allow: Instruction = { code: BPF_RET_K, k: SECCOMP_RET_ALLOW };
/** The call waits until a supervisor has answered it. */
export const notify: Instruction = { code: BPF_RET_K, k: SECCOMP_RET_USER_NOTIF };
export const failWith = (errno: number): Instruction => ({ code: BPF_RET_K, k: SECCOMP_RET_ERRNO | errno });

/** The program as an array of struct sock_filter. */
export function assemble(lines: readonly (Instruction | Label)[]): Uint8Array {
  const places = new Map<string, number>();
  const instructions: Instruction[] = [];
  for (const line of lines) {
    if ('label' in line) places.set(line.label, instructions.length);
    else instructions.push(line);
  }
  const program = new Uint8Array(INSTRUCTION_BYTES * instructions.length);
  const view = new DataView(program.buffer);
  instructions.forEach(({ code, k, ifTrue, ifFalse }, i) => {
    const jump = (to: string | undefined): number => (to === undefined ? 0 : distance(places, to, i));
    const at = INSTRUCTION_BYTES * i;
    view.setUint16(at, code, true);
    view.setUint8(at + 2, jump(ifTrue));
    view.setUint8(at + 3, jump(ifFalse));
    view.setUint32(at + 4, k >>> 0, true);
  });
  return program;
}

/** How many instructions a jump from instruction `from` skips. BPF has no way back. */
function distance(places: ReadonlyMap<string, number>, to: string, from: number): number {
  const skipped = (places.get(to) ?? Number.NaN) - from - 1;
  if (!(skipped >= 0 && skipped <= MAX_JUMP)) throw new RangeError(`no jump from ${from} to ${to}`);
  return skipped;
}
