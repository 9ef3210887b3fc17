/** Maps memory that is thousands of mappings of its process for DMA, in one call each time. argv: socket, mappings. Says how long it took. */
import { DmaMap, DmaUnmap, VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA } from '../../../iommu/abi/vfio.ts';
import { MAP_ANONYMOUS, MAP_PRIVATE, mmap, mprotect, PROT_READ, PROT_WRITE } from '../../../platform/libc.ts';
import { kernel, openDevice, say, wait } from './script.ts';

const PAGE = 4096;
const IOVA = 2 ** 32;
const NR_MAPPINGS = Number(process.argv[3]);
const SIZE = NR_MAPPINGS * PAGE;

const vaddr = mmap(0, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
for (let at = 0; at < SIZE; at += 2 * PAGE) mprotect(vaddr + at, PAGE, PROT_READ);
const { container } = openDevice(0, '0000:00:02.0');
say('ready');
wait();
const readable = { argsz: 32, flags: 1, vaddr: BigInt(vaddr), iova: BigInt(IOVA), size: BigInt(SIZE) };
const times = [performance.now()];
kernel.ioctl(container.fd, VFIO_IOMMU_MAP_DMA, DmaMap.bytes(readable));
times.push(performance.now());
const unmap = DmaUnmap.bytes({ argsz: DmaUnmap.size, iova: BigInt(IOVA), size: BigInt(SIZE) });
kernel.ioctl(container.fd, VFIO_IOMMU_UNMAP_DMA, unmap);
times.push(performance.now());
kernel.ioctl(container.fd, VFIO_IOMMU_MAP_DMA, DmaMap.bytes(readable));
say(times.slice(1).map((time, i) => Math.round(time - times[i]!)));
