/**
 * A client in a process of its own that sleeps in the kernel: opens container, group and kvemu
 * device, maps a page, makes its vaddr invalid, says so, reads it, says what came of it. SIGUSR1
 * has a handler.
 */
import { createMemory, Mapping } from '../../../../platform/memory.ts';
import { openContainer } from '../../../../vmm/client/container.ts';
import { invalidateVaddrs, mapDma } from '../../../../vmm/client/dma.ts';
import { kvemuRead } from '../../../../vmm/client/drivers/kvemu.ts';
import { openDevice } from '../../../../vmm/client/group.ts';
import { KernelClient } from '../../../../vmm/client/kernel-client.ts';

const SIZE = 4096;
const say = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`);

process.on('SIGUSR1', () => undefined);
const kernel = new KernelClient(process.argv[2]!);
const { fd: container, groups } = openContainer(kernel, [7]);
const device = openDevice(kernel, groups[0]!, 'kvemu.0');
const mapping = new Mapping(createMemory('sleeper', SIZE), SIZE);
mapDma(kernel, container, { iova: 0, size: SIZE, vaddr: mapping.vaddr });
invalidateVaddrs(kernel, container);
say('sleeps');
kvemuRead(kernel, device, 0, 4);
say(0);
