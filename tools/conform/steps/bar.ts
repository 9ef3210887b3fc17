/** `bar NAME DEVICE R:OFF SIZE PROT [private]` */
import { MAP_FIXED, MAP_PRIVATE, MAP_SHARED } from '../../../platform/libc/mmap.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';
import { parseProt, reserve } from './memory.ts';
import type { ProcessContext } from './process-calls.ts';

export function mapBar({ calls, words, step: { args }, state }: ProcessContext): Promise<string> {
  const [name, device, region, length, prot, sharing] = args as [string, string, string, string, string, string?];
  const size = words.count(length);
  return words.status(async () => {
    const vaddr = await reserve({ calls, state }, size);
    const flags = (sharing === 'private' ? MAP_PRIVATE : MAP_SHARED) | MAP_FIXED;
    const [fd, offset] = [words.fd(device), Number(words.offset(region))];
    try {
      await calls.mapDevice({ vaddr, length: size, prot: parseProt(prot), flags, fd, offset });
    } catch (error) {
      await calls.munmap(vaddr, Math.max(size, 1));
      throw error;
    }
    state.change({ symbol: name, vaddr, memory: null });
    state.change({ bar: { vaddr, size: Math.max(size, PAGE_SIZE), fd, offset } });
    return 0;
  });
}
