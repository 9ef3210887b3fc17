import { describe, expect, it } from 'vitest';

import { BoardBackends } from '../../../devices/board/backends.ts';

const NETDEV = 'dgram,id=n,local.path=/1,remote.path=/2';
const CHARDEV = 'socket,id=c,path=/3';
const FSDEV = 'local,id=f,path=/4,readonly=on';

describe('the backends of a board', () => {
  it('lead from an id to the whole option, and leave the other properties', () => {
    const backends = new BoardBackends({ netdevs: [NETDEV], chardevs: [CHARDEV], fsdevs: [FSDEV] });
    expect(backends.takeFor('virtio-net', { netdev: 'n', mac: '52:54:00:00:00:07', flr: 'off' })).toEqual({
      backend: NETDEV,
      properties: { mac: '52:54:00:00:00:07', flr: 'off' },
    });
    expect(backends.takeFor('virtio-console', { chardev: 'c' })).toEqual({ backend: CHARDEV, properties: {} });
    expect(backends.takeFor('virtio-9p', { fsdev: 'f', mount_tag: 't' })).toEqual({
      backend: FSDEV,
      properties: { mount_tag: 't' },
    });
    expect(backends.takeFor('edu', { x: '1' })).toEqual({ properties: { x: '1' } });
    backends.end();
  });

  it('counts the addresses of network devices that are given none', () => {
    const netdevs = ['a', 'b', 'c'].map((id) => `stream,id=${id},addr.path=/${id}`);
    const backends = new BoardBackends({ netdevs });
    const given = { a: {}, b: { mac: '52:54:00:00:00:07' }, c: {} };
    const left = Object.entries(given).map(
      ([netdev, properties]) => backends.takeFor('virtio-net', { netdev, ...properties }).properties,
    );
    expect(left).toEqual([{ mac: '52:54:00:12:34:56' }, { mac: '52:54:00:00:00:07' }, { mac: '52:54:00:12:34:57' }]);
  });

  it.each([
    ['virtio-net', {}, 'virtio-net: give netdev=ID'],
    ['virtio-net', { netdev: 'm' }, 'virtio-net: there is no -netdev with id=m'],
    ['virtio-net', { netdev: 'n' }, 'virtio-net: the netdev has a device already'],
    ['virtio-console', { chardev: 'n' }, 'virtio-console: there is no -chardev with id=n'],
  ])('refuses %s with %o in one line', (type, properties, line) => {
    const backends = new BoardBackends({ netdevs: [NETDEV] });
    backends.takeFor('virtio-net', { netdev: 'n' });
    expect(() => backends.takeFor(type, properties)).toThrow(line);
  });

  it.each([
    [{ netdevs: [NETDEV] }, "-netdev: no device uses 'n'; give -device virtio-net,netdev=n"],
    [{ chardevs: [CHARDEV] }, "-chardev: no device uses 'c'; give -device virtio-console,chardev=c"],
    [{ fsdevs: [FSDEV] }, "-fsdev: no device uses 'f'; give -device virtio-9p,fsdev=f"],
    [{ netdevs: [NETDEV, NETDEV] }, '-netdev: an id is given twice'],
    [{ netdevs: ['tap,id=n'] }, "-netdev tap,id=n: 'tap' is not known; there are dgram, stream"],
    [{ chardevs: ['socket,path=x'] }, '-chardev socket,path=x: give id=ID'],
  ])('refuses %o without a device in one line', (named, line) => {
    expect(() => new BoardBackends(named).end()).toThrow(line);
  });
});
