/**
 * The board's answer to the kernel's call under way (iommu/kernel/board/protocol.ts: BoardCall). It
 * is in shared words, because the kernel's thread blocks for it in the middle of a MAP_DMA. There
 * is at most one call at a time.
 */
import { errnoName, SysError } from '../../platform/errno.ts';
import { atomic32, defineShared } from '../../platform/shared.ts';

const Reply = defineShared('board reply', {
  answered: atomic32, // board: the call's seq, stored last and notified; publishes the rest
  errno: atomic32, // board: 0 or the positive errno
  pfnLo: atomic32, // board: first pfn of the range, for attach calls
  pfnHi: atomic32,
});

export function createBoardReply(): SharedArrayBuffer {
  return new SharedArrayBuffer(Reply.size);
}

/**
 * Board: answers the call `seq` with the first pfn of a range (0 for a detach), or with an errno.
 */
export function answerBoardCall(
  reply: SharedArrayBuffer,
  seq: number,
  result: { pfn: number } | { errno: number },
): void {
  const words = new Int32Array(reply);
  const pfn = 'pfn' in result ? result.pfn : 0;
  words[Reply.word.errno] = 'errno' in result ? result.errno : 0;
  words[Reply.word.pfnLo] = pfn >>> 0;
  words[Reply.word.pfnHi] = Math.floor(pfn / 2 ** 32);
  Atomics.store(words, Reply.word.answered, seq); // pairs with the load in awaitBoardReply
  Atomics.notify(words, Reply.word.answered);
}

/**
 * Kernel: blocks until the call `seq` is answered. Returns the pfn, or throws the board's errno.
 * ETIMEDOUT when the board does not answer.
 */
export function awaitBoardReply(reply: SharedArrayBuffer, seq: number, timeoutMs: number): number {
  const words = new Int32Array(reply);
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    // pairs with the store in answerBoardCall
    const answered = Atomics.load(words, Reply.word.answered);
    if (answered === seq) break;
    const leftMs = deadline - performance.now();
    if (leftMs <= 0) throw new SysError('ETIMEDOUT', `the board does not answer call ${seq}`);
    Atomics.wait(words, Reply.word.answered, answered, leftMs); // woken by answerBoardCall
  }
  const errno = words[Reply.word.errno]!;
  if (errno !== 0) throw new SysError(errnoName(errno), `the board refused call ${seq}`);
  return (words[Reply.word.pfnHi]! >>> 0) * 2 ** 32 + (words[Reply.word.pfnLo]! >>> 0);
}
