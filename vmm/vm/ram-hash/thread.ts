/**
 * SHA-256 of guest RAM, by a thread that owns the pool of hashing threads. The thread has a bundle
 * of its own for its code and for piscina. In the VMM's bundle, every update would load that code
 * before the guest runs again (18 ms).
 */
import { startWorker } from '../../../platform/thread.ts';
import type { RamHashInput } from './protocol.ts';

export function hashGuestRam(input: RamHashInput): Promise<string> {
  const worker = startWorker('vmm/vm/ram-hash/worker', input, { name: 'ram hash' });
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}
