import { describe, expect, it } from 'vitest';

import { parseHello, parseRequest } from '../../../iommu/abi/wire.ts';

describe('wire', () => {
  it.each([[{ task: 12 }], [{ open: '/dev/vfio/vfio', fd: 7 }], [{ open: 'anon:vfio-device', fd: 7, token: 3 }]])(
    'takes %o as a hello',
    (hello) => {
      expect(parseHello(hello)).toEqual(hello);
    },
  );

  it.each([
    [{ op: 'ioctl', fd: 3, nr: 0x3b64, arg: 0 }],
    [{ op: 'ioctl', fd: 3, nr: 0x3b64, arg: 0xffff_ffff_ffff_ffffn }],
    [{ op: 'ioctl', fd: 3, nr: 0x3b64, arg: new Uint8Array(8) }],
    [{ op: 'ioctl', fd: -1, nr: 0, arg: -1 }],
    [{ op: 'pread', fd: 3, offset: 7n << 40n, length: 4 }],
    [{ op: 'pwrite', fd: 3, offset: -1, data: new Uint8Array(2) }],
    [{ op: 'ioctls', fd: 3, nr: 1, size: 4, args: new Uint8Array(0) }],
    [{ op: 'ioctls', fd: 3, nr: 1, size: 4, args: new Uint8Array(4096) }],
    [{ op: 'sync' }],
    [{ op: 'load', vaddr: 2 ** 46, length: 8 }],
    [{ op: 'store', vaddr: 0, data: new Uint8Array(64) }],
    [{ op: 'control', fd: 3, request: { op: 'info' } }],
  ])('takes %o as a request', (request) => {
    expect(parseRequest(request)).toEqual(request);
  });

  it.each([
    [undefined],
    [null],
    [7],
    ['sync'],
    [[]],
    [{}],
    [{ op: 'clone', fd: 3 }],
    [{ op: 'ioctl', nr: 1, arg: 0 }],
    [{ op: 'ioctl', fd: 2 ** 40, nr: 1, arg: 0 }],
    [{ op: 'ioctl', fd: 1.5, nr: 1, arg: 0 }],
    [{ op: 'ioctl', fd: 3, nr: -1, arg: 0 }],
    [{ op: 'ioctl', fd: 3, nr: 1, arg: 'x' }],
    [{ op: 'ioctl', fd: 3, nr: 1, arg: 2n ** 64n }],
    [{ op: 'ioctl', fd: 3, nr: 1, arg: 0.5 }],
    [{ op: 'ioctls', fd: 3 }],
    [{ op: 'ioctls', fd: 3, nr: 1, size: 4, args: [1] }],
    [{ op: 'ioctls', fd: 3, nr: 1, size: 4, args: new Uint8Array(5) }],
    [{ op: 'ioctls', fd: 3, nr: 1, size: 4, args: new Uint8Array(4100) }],
    [{ op: 'ioctls', fd: 3, nr: 1, size: 0, args: new Uint8Array(4) }],
    [{ op: 'ioctls', fd: 3, nr: 1, size: 0, args: new Uint8Array(0) }],
    [{ op: 'pread', fd: 3, offset: 0, length: -1 }],
    [{ op: 'pread', fd: 3, offset: Number.NaN, length: 1 }],
    [{ op: 'pwrite', fd: 3, offset: 0, data: [1, 2] }],
    [{ op: 'control', fd: 3, request: 'info' }],
    [{ op: 'load', vaddr: -1, length: 4 }],
    [{ op: 'load', vaddr: 0, length: 0 }],
    [{ op: 'load', vaddr: 0, length: 65 }],
    [{ op: 'store', vaddr: 0, data: new Uint8Array(0) }],
    [{ op: 'store', vaddr: 2n ** 46n, data: new Uint8Array(4) }],
  ])('refuses %o with EPROTO', (frame) => {
    expect(() => parseRequest(frame)).toThrow(expect.objectContaining({ code: 'EPROTO' }));
  });

  it.each([
    [undefined],
    [{}],
    [{ open: 1, fd: 2 }],
    [{ open: '/x' }],
    [{ task: -1 }],
    [{ open: '/x', fd: 1, token: 'a' }],
  ])('refuses %o as a hello with EPROTO', (frame) => {
    expect(() => parseHello(frame)).toThrow(expect.objectContaining({ code: 'EPROTO' }));
  });
});
