/** A folder of the host by 9P: what a client reads, and what it cannot reach. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ExportedTree, SHARES_SECTION, withoutOpenFiles } from '../../../devices/backends/exported-tree.ts';
import { VirtioDevice } from '../../../devices/virtio/device.ts';
import { fileSystem } from '../../../devices/virtio/ninep.ts';
import { NinepServer } from '../../../devices/virtio/ninep-server.ts';
import { bringUp, DriverQueue, PlainMemory } from '../virtio/driver.ts';
import { NinepClient } from '../virtio/ninep-client.ts';

const [ROOT, FILE, OTHER] = [1, 2, 3];
const [WRITE_ONLY, TRUNCATE] = [1, 0o1000];

let folder: string;
let root: number;
let client: NinepClient;
const at = (path: string): string => join(folder, path);

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'livevmm-9p-'));
  mkdirSync(at('tree/sub/deep'), { recursive: true });
  writeFileSync(at('tree/hello'), 'hello from the host');
  chmodSync(at('tree/hello'), 0o644); // whatever the umask
  writeFileSync(at('tree/sub/deep/file'), 'deep');
  writeFileSync(at('secret'), 'secret');
  symlinkSync('../secret', at('tree/link'));
  symlinkSync('..', at('tree/sub/up'));
  root = openSync(at('tree'), 'r');
  client = new NinepClient(new NinepServer(new ExportedTree(root)));
  client.version(65_536);
  client.attach(ROOT);
});
afterEach(() => {
  client.server.reset();
  closeSync(root);
  rmSync(folder, { recursive: true });
});

describe('a folder by 9P', () => {
  it('agrees on a version and a size', () => {
    expect([client.version(1 << 20), client.version(8192, '9P2000.u'), client.version(100)]).toEqual([
      [131_072, '9P2000.L'],
      [8192, 'unknown'],
      'EINVAL',
    ]);
  });

  it('shows files, their attributes and bytes', () => {
    expect([client.walk(ROOT, FILE, 'hello'), client.attributes(FILE)]).toEqual([1, [0, 0o100644, 19n]]);
    expect([client.open(FILE), client.read(FILE, 6, 4), client.read(FILE, 6, 99), client.read(FILE, 99, 9)]).toEqual([
      ...[true, 'from', 'from the host', ''],
    ]);
    expect([client.clunk(FILE), client.read(FILE, 0, 9)]).toEqual([true, 'EBADF']);
  });

  it('shows folders, in as many answers as they take', () => {
    const names = Array.from({ length: 300 }, (_, i) => `${'x'.repeat(i % 60)}${i}`);
    for (const name of names) writeFileSync(at(`tree/sub/${name}`), '');
    client.walk(ROOT, FILE, 'sub');
    client.open(FILE);
    const all = ['.', '..', 'deep', 'up', ...names].toSorted();
    expect(client.names(FILE, 700).toSorted()).toEqual(all);
    expect(client.names(FILE, 60_000).toSorted()).toEqual(all);
  });

  it('gives the target of a link as it is', () => {
    client.walk(ROOT, FILE, 'link');
    const answer = client.ask(22, (to) => to.u32(FILE));
    expect(typeof answer === 'string' ? answer : Buffer.from(answer.string()).toString()).toBe('../secret');
    expect(client.attributes(FILE)).toMatchObject([2, 0o120777, 9n]);
  });

  it('walks as far as it can, and gives the fid only for the whole way', () => {
    expect([client.walk(ROOT, FILE, 'sub', 'deep', 'none'), client.walk(FILE, OTHER)]).toEqual([2, 'EBADF']);
    expect([client.walk(ROOT, FILE, 'none'), client.walk(ROOT, FILE, 'hello', 'x')]).toEqual(['ENOENT', 1]);
    expect([client.walk(ROOT, FILE, 'sub'), client.walk(FILE, FILE, 'deep', 'file'), client.open(FILE)]).toEqual([
      ...[1, 2, true],
    ]);
    expect(client.read(FILE, 0, 9)).toBe('deep');
  });

  it('takes a name as it is, U+FEFF at its beginning, too', () => {
    writeFileSync(at('tree/\ufeffhello'), 'another');
    expect([client.walk(ROOT, FILE, '\ufeffhello'), client.open(FILE), client.read(FILE, 0, 9)]).toEqual([
      ...[1, true, 'another'],
    ]);
  });

  it('tells of its space, and has no attributes beside the usual ones', () => {
    const space = client.ask(8, (to) => to.u32(ROOT));
    expect(typeof space).toBe('object');
    expect(client.ask(30, (to) => to.u32(ROOT).u32(FILE).string(Buffer.from('user.x')))).toBe('ENOTSUP');
  });

  it.each([
    ['opens nothing for writing', () => client.open(FILE, WRITE_ONLY)],
    ['cuts nothing', () => client.open(FILE, TRUNCATE)],
    ['creates nothing', () => client.ask(14, (to) => to.u32(ROOT))],
    ['removes nothing, and takes the fid back', () => client.ask(122, (to) => to.u32(FILE))],
    ['writes nothing', () => client.ask(118, (to) => to.u32(FILE))],
  ])('is read only: %s', (_, act) => {
    client.walk(ROOT, FILE, 'hello');
    expect(act()).toBe('EROFS');
  });
});

describe('nothing outside the folder is reached', () => {
  it('by ..', () => {
    expect([client.walk(ROOT, FILE, '..', '..', 'secret'), client.walk(ROOT, FILE, '..', 'hello')]).toEqual([2, 2]);
    expect(client.walk(FILE, OTHER)).toBe(0);
    expect(client.walk(ROOT, 9, 'sub', '..', '..', 'secret')).toBe(3);
    expect(client.walk(9, 10)).toBe('EBADF');
  });

  it.each(['', '.', 'sub/deep', '../secret', 'a\0b', '/'])('by the name %j', (name) => {
    expect(client.walk(ROOT, FILE, name)).toBe('ENOENT');
  });

  it('through a link, wherever it stands in the way', () => {
    expect(client.walk(ROOT, FILE, 'sub', 'up', 'secret')).toBe(2);
    client.walk(ROOT, FILE, 'link');
    client.walk(ROOT, OTHER, 'sub', 'up');
    expect([client.open(FILE), client.open(OTHER), client.walk(OTHER, 9, 'hello')]).toEqual([
      'ELOOP',
      'ELOOP',
      'ELOOP',
    ]);
  });

  it('by a folder that the host replaces by a link', () => {
    client.walk(ROOT, FILE, 'sub', 'deep');
    rmSync(at('tree/sub'), { recursive: true });
    mkdirSync(at('outside/deep'), { recursive: true });
    writeFileSync(at('outside/deep/file'), 'secret');
    symlinkSync('../outside', at('tree/sub'));
    expect([client.walk(FILE, OTHER, 'file'), client.open(FILE)]).toEqual(['ELOOP', 'ELOOP']);
  });

  it('by a folder that the host moves out', () => {
    client.walk(ROOT, FILE, 'sub', 'deep');
    renameSync(at('tree/sub'), at('moved'));
    expect(client.walk(FILE, OTHER, '..', '..', '..', 'secret')).toBe('ENOENT');
    expect(client.walk(FILE, OTHER, 'file')).toBe('ENOENT');
  });
});

describe('a hostile client', () => {
  it('cannot make the host wait for a FIFO', () => {
    execFileSync('mkfifo', [at('tree/fifo')]);
    client.walk(ROOT, FILE, 'fifo');
    expect(client.open(FILE)).toBe('ENXIO');
  });

  it('gets no more files than 64, and no more fids than 16384', () => {
    let open: true | string = true;
    let fid = 100;
    for (; open === true; fid++) {
      client.walk(ROOT, fid, 'hello');
      open = client.open(fid);
    }
    expect([open, fid - 101]).toEqual(['EMFILE', 64]);
    let walked: number | string = 0;
    for (; walked === 0; fid++) walked = client.walk(ROOT, fid);
    expect([walked, fid - 100]).toEqual(['EMFILE', 16_384]);
  });

  it('gets no fid by a walk of more names than the protocol has', () => {
    const ups = Array.from({ length: 17 }, () => '..');
    expect([client.walk(ROOT, FILE, ...ups), client.walk(FILE, OTHER)]).toEqual(['EINVAL', 'EBADF']);
    expect(client.walk(ROOT, FILE, ...ups.slice(1))).toBe(16);
  });

  it('gets an errno for whatever it says', () => {
    const bytes = fc.uint8Array({ minLength: 7, maxLength: 60 });
    const types = fc.constantFrom(8, 12, 22, 24, 30, 40, 50, 52, 54, 100, 104, 108, 110, 116, 120, 122);
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.oneof(types, fc.nat(255)), bytes), { maxLength: 20 }), (messages) => {
        for (const [type, message] of messages) {
          message[4] = type;
          if (message.length > 8) message.fill(0, 8, 11); // a small fid
          client.raw(message);
        }
      }),
    );
  });

  it('breaks its queue by a request without a head, or without room for the answer', () => {
    for (const [length, room] of [
      [6, 100],
      [23, 8],
    ] as const) {
      const memory = new PlainMemory(0x1_0000);
      const device = new VirtioDevice(fileSystem(client.server, 'tag'), memory, () => {});
      const queue = new DriverQueue(memory, 0, 8);
      bringUp(device, [queue]);
      memory.bytes.set([length, 0, 0, 0, 24, 0, 0, ROOT], 0x4000);
      queue.add([
        { at: 0x4000, length },
        { at: 0x5000, length: room, writable: true },
      ]);
      device.notify(0);
      expect(device.status & 0x40).toBe(0x40);
    }
  });
});

describe('a save', () => {
  const saved = () => SHARES_SECTION.of({ shares: [structuredClone(client.server.save())] });
  const restored = (state: ReturnType<typeof saved>): NinepClient => {
    const server = new NinepServer(new ExportedTree(root));
    server.restore(SHARES_SECTION.decode(state).shares[0]!);
    return new NinepClient(server);
  };
  beforeEach(() => {
    client.walk(ROOT, FILE, 'hello');
    client.open(FILE);
    client.walk(ROOT, OTHER, 'sub', 'deep');
  });

  it('has the fids, and files that stay open whatever their names become', () => {
    renameSync(at('tree/hello'), at('tree/goodbye'));
    const next = restored(saved());
    expect([next.read(FILE, 0, 5), next.walk(OTHER, 9, 'file'), next.version(8192)]).toEqual([
      ...['hello', 1, [8192, '9P2000.L']],
    ]);
    client = new NinepClient(new NinepServer(new ExportedTree(root))); // the fd went with the state
  });

  it('without fds opens the files again', () => {
    const next = restored(withoutOpenFiles(saved()));
    expect(next.read(FILE, 0, 5)).toBe('hello');
    next.server.reset();
  });

  it('without fds knows a file that is another one now', () => {
    const state = withoutOpenFiles(saved());
    writeFileSync(at('tree/new'), 'another');
    renameSync(at('tree/new'), at('tree/hello'));
    const next = restored(state);
    expect([next.read(FILE, 0, 5), next.clunk(FILE)]).toEqual(['EBADF', true]);
  });
});

it('shows its tag in the configuration', () => {
  const { config, id, queueSizes } = fileSystem(client.server, 'share');
  expect([id, queueSizes, Buffer.from(config).toString()]).toEqual([9, [128], '\u0005\0share']);
});
