/**
 * Maps memory that is thousands of mappings of its process for DMA, in one call each time. argv:
 * socket, mappings. Says how long it took.
 */
import { VFIO_DMA_MAP_FLAG_READ } from '../../../iommu/abi/vfio.ts';
import { MAP_ANONYMOUS, MAP_PRIVATE, mmap, mprotect, PROT_READ, PROT_WRITE } from '../../../platform/libc/mmap.ts';
import { mapDma, unmapDma } from '../../../vmm/client/dma.ts';
import { kernel, openDeviceOf, say, wait } from './script.ts';

const PAGE = 4096;
const IOVA = 2 ** 32;
const NR_MAPPINGS = Number(process.argv[3]);
const SIZE = NR_MAPPINGS * PAGE;

const vaddr = mmap(0, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
for (let at = 0; at < SIZE; at += 2 * PAGE) mprotect(vaddr + at, PAGE, PROT_READ);
const { container } = openDeviceOf(0, '0000:00:02.0');
say('ready');
wait();
const readable = { iova: IOVA, size: SIZE, vaddr, flags: VFIO_DMA_MAP_FLAG_READ };
const times = [performance.now()];
mapDma(kernel, container, readable);
times.push(performance.now());
unmapDma(kernel, container, readable);
times.push(performance.now());
mapDma(kernel, container, readable);
say(times.slice(1).map((time, i) => Math.round(time - times[i]!)));
