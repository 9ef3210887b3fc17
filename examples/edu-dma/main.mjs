/**
 * A program that has an edu device by VFIO: it lets the device compute a factorial, copy memory by
 * DMA, and interrupt.
 *
 *   npx livevmm host --device edu --socket /tmp/host.sock
 *   node examples/edu-dma/main.mjs /tmp/host.sock
 */
import {
  armIrqs,
  askHost,
  close,
  createMemory,
  Edu,
  EFD_CLOEXEC,
  enableDevice,
  eventfd,
  getRegion,
  KernelClient,
  Mapping,
  mapDma,
  openContainer,
  openDevice,
  POLLIN,
  poll,
  RegionRegisters,
  unmapDma,
  vfio,
} from 'livevmm/client';

/** Where the device sees the memory. */
const IOVA = 0x10_0000;
const SIZE = 0x1_0000;
const PAGE = 0x1000;
const TEXT = 'by DMA, through an IOMMU';
const PATIENCE_MS = 10_000;

const [socket] = process.argv.slice(2);
if (socket === undefined) throw new Error('usage: node main.mjs SOCKET');
const client = new KernelClient(socket);

// Which group the device is in: on Linux, /sys/bus/pci/devices/BDF/iommu_group.
const found = askHost(client, { op: 'info' }).devices.find(({ name }) => name === 'edu');
if (found === undefined) throw new Error('the host has no edu');

// As in Documentation/driver-api/vfio.rst: container, group, IOMMU type, device.
const container = openContainer(client, [found.group]);
const device = openDevice(client, /** @type {number} */ (container.groups[0]), found.bdf);
enableDevice(client, device);
const bar0 = getRegion(client, device, vfio.VFIO_PCI_BAR0_REGION_INDEX);
const edu = new Edu(new RegionRegisters(client, device, bar0.offset));
edu.check();

console.log(`${found.bdf}: 10! = ${edu.factorial(10)}`);

// Memory that both sides see: a memfd, mapped here at vaddr and for the device at IOVA. The fd
// stays open: without root the host finds the object by it.
const fd = createMemory('edu-dma', SIZE);
const memory = new Mapping(fd, SIZE);
const bytes = Buffer.from(memory.buffer, 0, SIZE);
mapDma(client, container.fd, { iova: IOVA, size: SIZE, vaddr: memory.vaddr });

bytes.write(TEXT, 0);
edu.readBus(IOVA, TEXT.length); // into the device's buffer
edu.writeBus(IOVA + PAGE, TEXT.length); // and out again, one page on
console.log(`page 1: ${bytes.toString('utf8', PAGE, PAGE + TEXT.length)}`);

const interrupt = eventfd(0, EFD_CLOEXEC);
armIrqs(client, device, vfio.VFIO_PCI_MSI_IRQ_INDEX, [interrupt]);
edu.raise(1);
const came = poll([{ fd: interrupt, events: POLLIN }], PATIENCE_MS) !== undefined;
console.log(`interrupt: ${came ? `came, for 0x${edu.acknowledge().toString(16)}` : 'none'}`);

// What is not mapped any more the device does not reach.
const unmapped = unmapDma(client, container.fd, { iova: IOVA, size: SIZE });
bytes.fill(0, PAGE);
edu.writeBus(IOVA + PAGE, TEXT.length);
console.log(`unmapped ${unmapped} bytes; page 1: ${bytes[PAGE] === 0 ? 'untouched' : 'written'}`);
client.disconnect();
close(fd);
