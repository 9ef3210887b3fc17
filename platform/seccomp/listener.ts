/**
 * The fd at which the trapped system calls of other processes arrive and are answered
 * (seccomp_unotify(2)). A call waits from its arrival to its answer; when its thread is killed
 * meanwhile, answers are ENOENT.
 */
import { codeOf } from '../errno.ts';
import { ioctl, ioctlNumber, O_CLOEXEC, setCloexec } from '../libc/fd.ts';
import { defineStruct, s32, u32, u64, viewOf } from '../struct.ts';

/** linux/seccomp.h, v6.12; struct seccomp_data is written out. */
const SeccompNotif = defineStruct('seccomp_notif', {
  id: u64,
  pid: u32,
  flags: u32,
  nr: s32,
  arch: u32,
  instruction_pointer: u64,
  arg0: u64,
  arg1: u64,
  arg2: u64,
  arg3: u64,
  arg4: u64,
  arg5: u64,
});
const SeccompNotifResp = defineStruct('seccomp_notif_resp', { id: u64, val: u64, error: s32, flags: u32 });
const SeccompNotifAddfd = defineStruct('seccomp_notif_addfd', {
  id: u64,
  flags: u32,
  srcfd: u32,
  newfd: u32,
  newfd_flags: u32,
});

const SECCOMP_IOCTL_NOTIF_RECV = 0xc050_2100;
const SECCOMP_IOCTL_NOTIF_SEND = 0xc018_2101;
const SECCOMP_IOCTL_NOTIF_ID_VALID = 0x4008_2102;
const SECCOMP_IOCTL_NOTIF_ADDFD = 0x4018_2103;
const SECCOMP_IOCTL_NOTIF_SET_FLAGS = 0x4008_2104;
const SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP = 1;
const SECCOMP_USER_NOTIF_FLAG_CONTINUE = 1;
const SECCOMP_ADDFD_FLAG_SEND = 2;

/** A system call that waits for its answer. */
export interface TrappedCall {
  readonly id: bigint;
  /** The thread that made it, as this process numbers it. */
  readonly tid: number;
  readonly nr: number;
  readonly args: readonly bigint[];
}

export class Listener {
  readonly fd: number;
  readonly #notif = new Uint8Array(SeccompNotif.size);
  readonly #resp = new Uint8Array(SeccompNotifResp.size);
  readonly #addfd = new Uint8Array(SeccompNotifAddfd.size);
  readonly #id = new BigUint64Array(1);

  /** Takes the fd over. */
  constructor(fd: number) {
    this.fd = fd;
    setCloexec(fd, true);
    try {
      // A call and its answer are served on the caller's CPU, as it has to wait anyway.
      ioctlNumber(fd, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
    } catch (error) {
      if (codeOf(error) !== 'EINVAL') throw error; // Linux before 6.6: the same, and slower
    }
  }

  /** The next call. It waits for one. Undefined when the one that was there has been killed. */
  receive(): TrappedCall | undefined {
    this.#notif.fill(0);
    try {
      ioctl(this.fd, SECCOMP_IOCTL_NOTIF_RECV, this.#notif);
    } catch (error) {
      const code = codeOf(error);
      if (code === 'ENOENT' || code === 'EINTR') return undefined;
      throw error;
    }
    const { id, pid, nr, arg0, arg1, arg2, arg3, arg4, arg5 } = SeccompNotif.read(viewOf(this.#notif));
    return { id, tid: pid, nr, args: [arg0, arg1, arg2, arg3, arg4, arg5] };
  }

  /** The call returns `value`, without having been made. */
  answer(call: TrappedCall, value: number): void {
    this.#send({ id: call.id, val: BigInt.asUintN(64, BigInt(value)) });
  }

  /** The call fails with errno `error`, without having been made. */
  refuse(call: TrappedCall, error: number): void {
    this.#send({ id: call.id, error: -error });
  }

  /** The call is made as if nobody had asked. */
  goOn(call: TrappedCall): void {
    this.#send({ id: call.id, flags: SECCOMP_USER_NOTIF_FLAG_CONTINUE });
  }

  #send(value: Parameters<typeof SeccompNotifResp.write>[1]): void {
    SeccompNotifResp.write(viewOf(this.#resp), { val: 0n, error: 0, flags: 0, ...value });
    this.#ifAlive(SECCOMP_IOCTL_NOTIF_SEND, this.#resp);
  }

  /**
   * The call returns a new fd for the open file behind `fd`, which stays the caller's. Returns the
   * new fd; undefined when the call waits no more. EMFILE: the process has no fd left, and the call
   * still waits.
   */
  answerFd(call: TrappedCall, fd: number, cloexec: boolean): number | undefined {
    return this.#addFd(call, { fd, cloexec, flags: SECCOMP_ADDFD_FLAG_SEND });
  }

  /** As answerFd(), but the call still waits, and its answer must be this fd. */
  addFd(call: TrappedCall, fd: number, cloexec: boolean): number | undefined {
    return this.#addFd(call, { fd, cloexec, flags: 0 });
  }

  #addFd(
    { id }: TrappedCall,
    { fd, cloexec, flags }: { readonly fd: number; readonly cloexec: boolean; readonly flags: number },
  ): number | undefined {
    const newfd_flags = cloexec ? O_CLOEXEC : 0;
    SeccompNotifAddfd.write(viewOf(this.#addfd), { id, flags, srcfd: fd, newfd: 0, newfd_flags });
    return this.#ifAlive(SECCOMP_IOCTL_NOTIF_ADDFD, this.#addfd);
  }

  /** Whether the call still waits: what was read from its process meanwhile was that process's. */
  waits(call: TrappedCall): boolean {
    this.#id[0] = call.id;
    return this.#ifAlive(SECCOMP_IOCTL_NOTIF_ID_VALID, this.#id) !== undefined;
  }

  /** Undefined for a call that waits no more (ENOENT). */
  #ifAlive(request: number, arg: Uint8Array | BigUint64Array): number | undefined {
    try {
      return ioctl(this.fd, request, arg);
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  }
}
