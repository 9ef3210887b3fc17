/**
 * A client in a process of its own that sleeps in the kernel: opens container, group and kvemu device, maps a page, makes its vaddr
 * invalid, says so, reads it, says what came of it. SIGUSR1 has a handler.
 */
import { KVEMU_RW, KvemuRw } from '../../../../iommu/abi/kvemu.ts';
import { createMemory, Mapping } from '../../../../platform/memory.ts';
import { Container } from '../../../../vmm/client/container.ts';
import { KernelClient } from '../../../../vmm/client/kernel-client.ts';

const SIZE = 4096;
const say = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`);

process.on('SIGUSR1', () => undefined);
const kernel = new KernelClient(process.argv[2]!);
const container = new Container(kernel);
const device = container.openDevice(container.addGroup(7), 'kvemu.0');
const mapping = new Mapping(createMemory('sleeper', SIZE), SIZE);
container.map({ iova: 0, offset: 0, size: SIZE }, mapping.vaddr);
container.invalidateVaddrs();
say('sleeps');
const argsz = KvemuRw.size + 4;
say(kernel.ioctl(device, KVEMU_RW, KvemuRw.bytes({ argsz, iova: 0n, size: 4n }, argsz)));
