import { closeSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

import { openFsdev, parseFsdev, splitVirtfs } from '../../../devices/backends/fsdev-option.ts';
import { planVirtio } from '../../../vmm/vm/virtio-options.ts';

const LOCAL = 'local,id=f,path=/a,,b,security_model=none,readonly=on';

describe('-fsdev and -virtfs', () => {
  it('give a folder and its tag', () => {
    expect(planVirtio({ virtio: ['virtio-9p-device,fsdev=f,mount_tag=t'], fsdevs: [LOCAL] })).toEqual([
      { kind: '9p', transport: 'mmio', fsdev: 0, tag: 't' },
    ]);
    expect(parseFsdev(LOCAL)).toEqual({ id: 'f', path: '/a,b' });
    expect(parseFsdev('local,id=f,path=/a,security_model=none,readonly')).toEqual({ id: 'f', path: '/a' });
  });

  it('are the same thing', () => {
    const { fsdev, device } = splitVirtfs('local,path=/a,,b,mount_tag=t,security_model=none,readonly=on', 3);
    expect([parseFsdev(fsdev), device]).toEqual([
      { id: 'virtfs3', path: '/a,b' },
      'virtio-9p-pci,fsdev=virtfs3,mount_tag=t',
    ]);
  });

  it.each([
    ['local,id=f,path=/a', 'give readonly=on: nothing can be written'],
    ['proxy,id=f', "the driver is 'local'"],
    ['local,id=f,readonly=on', 'give path=FOLDER'],
    ['local,id=f,path=/a,readonly=on,security_model=mapped', 'security_model=mapped is not known; there is none'],
    ['local,id=f,path=/a,readonly=on,fmode=600', "'fmode' is not known"],
  ])('-fsdev %s is refused', (text, error) => {
    expect(() => parseFsdev(text)).toThrow(error);
  });

  it('want a folder that is there', () => {
    const open = (path: string) => () => openFsdev(`local,id=f,path=${path},readonly=on`);
    expect(open('/nonexistent')).toThrow('-fsdev: /nonexistent: open /nonexistent: ENOENT');
    expect(open('/dev/null')).toThrow('ENOTDIR');
    closeSync(open('/')());
  });

  it('want a device, and a device wants a tag and a folder', () => {
    const plan = (device: string) => () => planVirtio({ virtio: [device], fsdevs: [LOCAL] });
    expect(() => planVirtio({ fsdevs: [LOCAL] })).toThrow("no device uses 'f'; give -device virtio-9p-pci,fsdev=f");
    expect(plan('virtio-9p-pci,fsdev=f')).toThrow('give mount_tag=TAG');
    expect(plan('virtio-9p-pci,fsdev=g,mount_tag=t')).toThrow('there is no -fsdev with id=g');
    expect(plan(`virtio-9p-pci,fsdev=f,mount_tag=${'t'.repeat(32)}`)).toThrow('a tag has at most 31 bytes');
  });
});
