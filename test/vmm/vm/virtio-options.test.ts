import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { DiskFile } from '../../../devices/virtio/disk-file.ts';
import { openDisks } from '../../../vmm/vm/disks.ts';
import { planSerial } from '../../../vmm/vm/serial-option.ts';
import { planVirtio } from '../../../vmm/vm/virtio-options.ts';
import type { VmOptions } from '../../../vmm/vm/vm-state.ts';

const dgram = (id: string): string => `dgram,id=${id},local.type=unix,local.path=/l,remote.type=unix,remote.path=/r`;
const LOCKS = { locking: 'auto', shareRw: false } as const;
const NETS = ['virtio-net-device,netdev=n0,mac=02:00:00:00:00:09', 'virtio-net-device,netdev=n2'];

describe('-drive, -netdev and -device virtio-…', () => {
  it('give the devices in the order of the command line, drives of their own last', () => {
    const plan = planVirtio({
      virtio: [
        'virtio-rng-pci',
        'virtio-blk-device,drive=hd0,serial=abc,share-rw=on',
        'virtio-net-pci,netdev=n1',
        ...NETS,
      ],
      drives: ['file=/a,,b,if=none,id=hd0,cache=none,readonly=on', 'file=/c'],
      netdevs: [dgram('n0'), dgram('n1'), dgram('n2')],
    });
    expect(plan).toEqual([
      { kind: 'rng', transport: 'pci' },
      {
        kind: 'blk',
        transport: 'mmio',
        drive: { id: 'hd0', file: '/a,b', cache: 'none', readOnly: true, ...LOCKS, shareRw: true, serial: 'abc' },
      },
      { kind: 'net', transport: 'pci', netdev: 1, mac: Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56) },
      { kind: 'net', transport: 'mmio', netdev: 0, mac: Uint8Array.of(2, 0, 0, 0, 0, 9) },
      { kind: 'net', transport: 'mmio', netdev: 2, mac: Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x57) },
      {
        kind: 'blk',
        transport: 'pci',
        drive: { id: 'virtio1', file: '/c', cache: 'writeback', readOnly: false, ...LOCKS, serial: '' },
      },
    ]);
  });

  it('have MSI-X and an IOMMU in front as they say', () => {
    expect(planVirtio({ virtio: ['virtio-rng-pci,vectors=0,iommu_platform=on,disable-legacy=on'] })).toEqual([
      { kind: 'rng', transport: 'pci', iommuPlatform: true, vectors: 0 },
    ]);
    const refused = (word: string) => () => planVirtio({ virtio: [`virtio-rng-${word}`] });
    expect(refused('pci,vectors=129')).toThrow('vectors=129: give the number of vectors, 0 to 128');
    expect(refused('pci,disable-legacy=off')).toThrow('disable-legacy=off is not known; there is on');
    expect(refused('device,vectors=1')).toThrow("'vectors' is not known");
  });

  it.each([
    [[], ['id=a'], '-drive id=a: give file=PATH'],
    [[], ['file=/a,format=qcow2'], '-drive file=/a,format=qcow2: format=qcow2 is not known; there is raw'],
    [
      [],
      ['file=/a,cache=fast'],
      'cache=fast is not known; there are writeback, writethrough, none, directsync, unsafe',
    ],
    [[], ['file=/a,if=ide'], 'if=ide is not known; there are virtio, none'],
    [[], ['file=/a,if=none,id=x'], "-drive: no device uses 'x'; give -device virtio-blk-pci,drive=x"],
    [[], ['file=/a,snapshot=on'], "'snapshot' is not known"],
    [['virtio-blk-pci,drive=y'], [], '-device virtio-blk-pci,drive=y: there is no -drive with id=y'],
    [['virtio-blk-pci'], [], '-device virtio-blk-pci: give drive=ID'],
    [['virtio-gpu-pci'], [], '-device virtio-gpu-pci: there are virtio-blk-pci'],
    [['virtio-rng-pci,max-bytes=1'], [], "'max-bytes' is not known"],
    [['virtio-blk-pci,drive=a', 'virtio-blk-pci,drive=a'], ['file=/a,id=a,if=none'], 'the drive has a device already'],
  ])('are refused in one line: %j %j', (virtio, drives, error) => {
    expect(() => planVirtio({ virtio, drives })).toThrow(error);
  });

  it.each([
    [[], dgram('n'), "-netdev: no device uses 'n'; give -device virtio-net-pci,netdev=n"],
    [['virtio-net-pci'], dgram('n'), '-device virtio-net-pci: give netdev=ID'],
    [['virtio-net-pci,netdev=m'], dgram('n'), 'there is no -netdev with id=m'],
    [['virtio-net-pci,netdev=n,mac=1'], dgram('n'), 'mac=1 is no address of a station'],
    [['virtio-net-pci,netdev=n,mac=01:00:00:00:00:00'], dgram('n'), 'is no address of a station'],
    [['virtio-net-pci,netdev=n'], 'user,id=n', "-netdev user,id=n: 'user' is not known; there are dgram, stream"],
    [['virtio-net-pci,netdev=n'], 'stream,id=n', 'give addr.path=PATH'],
    [['virtio-net-pci,netdev=n'], 'dgram,id=n,local.type=inet', 'local.type=inet is not known; there is unix'],
    [['virtio-net-pci,netdev=n'], 'dgram,id=n,local.path=/l', 'give remote.path=PATH'],
  ])('with a network are refused in one line: %j %s', (virtio, netdev, error) => {
    expect(() => planVirtio({ virtio, netdevs: [netdev] })).toThrow(error);
  });
});

describe('-serial and -chardev', () => {
  const C = 'socket,id=c,path=/c,server=on,wait=off';
  it('give a console to each virtio-serial device, and a line to the UART', () => {
    const options = {
      virtio: ['virtio-serial-pci', 'virtio-serial-device', 'virtconsole,chardev=d', 'virtconsole,chardev=c'],
      chardevs: [C, C.replaceAll('c,', 'd,')],
      serial: 'unix:/s,server=on,wait=off',
    };
    expect(planVirtio(options)).toEqual([
      { kind: 'serial', transport: 'pci', chardev: 1 },
      { kind: 'serial', transport: 'mmio', chardev: 0 },
    ]);
    const { serial, chardevs } = planSerial(options);
    expect([serial, chardevs.map(({ path }) => path)]).toEqual([2, ['/c', '/d', '/s']]);
    expect(planSerial({}).serial).toBe('stdio');
    expect(planSerial({ chardevs: [C], serial: 'chardev:c' }).serial).toBe(0);
  });

  it.each([
    [{ chardevs: [C] }, "-chardev: no device uses 'c'; give -device virtconsole,chardev=c"],
    [{ chardevs: [C, C] }, '-chardev: an id is given twice'],
    [{ chardevs: [C], serial: 'chardev:c', virtio: ['virtio-serial-pci', 'virtconsole,chardev=c'] }, 'device already'],
    [{ virtio: ['virtio-serial-pci'] }, 'give -device virtconsole,chardev=ID'],
    [{ chardevs: [C], virtio: ['virtconsole,chardev=c'] }, 'give -device virtio-serial-pci, one for each'],
    [{ chardevs: ['pty,id=c'] }, "-chardev pty,id=c: 'pty' is not known; there is socket"],
    [{ chardevs: ['socket,id=c,path=/c,reconnect=x'] }, 'reconnect=x: give a number'],
    [{ chardevs: [`${C},reconnect=1`] }, 'only a client connects again'],
    [{ chardevs: ['socket,id=c,path=/c,server=on'] }, 'give wait=off'],
    [{ serial: 'unix:,server=on,wait=off' }, 'give a path'],
    [{ serial: 'pty' }, '-serial pty: there are stdio, null, unix:PATH[,server=on,wait=off], chardev:ID'],
    [{ serial: 'chardev:c' }, 'there is no -chardev with id=c'],
  ])('are refused in one line: %j', (options, error) => {
    expect(() => planVirtio(options)).toThrow(error);
  });
});

describe('a disk that is a file', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'livevmm-disk-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const options = (drive: string): VmOptions => ({ memory: 0, kernel: '', devices: [], drives: [drive] });

  it('has whole sectors alone', () => {
    const path = join(folder, 'uneven');
    writeFileSync(path, new Uint8Array(4096 + 100));
    expect(new DiskFile(openDisks(options(`file=${path}`))[0]!).size).toBe(4096);
  });

  it('says IOERR where the file has become shorter', () => {
    const path = join(folder, 'short');
    writeFileSync(path, new Uint8Array(1024));
    const disk = new DiskFile(openDisks(options(`file=${path}`))[0]!);
    writeFileSync(path, new Uint8Array(512));
    expect(() => disk.read(512, disk.buffer.subarray(0, 512))).toThrow('shorter');
  });

  it('is refused by name if it cannot be opened', () => {
    expect(() => openDisks(options('file=/nowhere/disk'))).toThrow(/^-drive: \/nowhere\/disk: .*/);
    expect(() => openDisks(options(`file=${folder},readonly=on`))).toThrow('not a regular file');
    const fifo = join(folder, 'fifo');
    execFileSync('mkfifo', [fifo]);
    const fds = (): number => readdirSync('/proc/self/fd').length;
    const before = fds();
    expect(() => openDisks(options(`file=${fifo},readonly=on`))).toThrow(/not a regular file$/);
    expect(fds()).toBe(before);
  });
});
