/**
 * A server of 9P2000.L that only reads: files of a tree on the host, for one client. A request is
 * answered at once, so none is under way between two instructions of the guest. What it keeps is
 * its fids: a path in the tree, and perhaps an open file.
 */
import { constants } from 'node:fs';
import {
  codeOf,
  ebadf,
  einval,
  enametoolong,
  enoent,
  enomem,
  eopnotsupp,
  errnoNumber,
  SysError,
} from '../../platform/errno.ts';
import { fd } from '../../platform/fd-shape.ts';
import { big, flag, integer, list, nullable, object, type Shaped, text } from '../../platform/shape.ts';
import { CHANGING, HEADER, QID_BYTES, type Qid, R_ERROR, Reader, T, Writer } from './ninep-message.ts';

export interface Time {
  readonly seconds: bigint;
  readonly ns: number;
}

/** Of a file, as statx(2) has it. */
export interface Attributes {
  readonly inode: bigint;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly nlink: number;
  readonly rdev: bigint;
  readonly size: bigint;
  readonly blksize: number;
  readonly blocks: bigint;
  readonly atime: Time;
  readonly mtime: Time;
  readonly ctime: Time;
}

export interface TreeEntry {
  readonly inode: bigint;
  readonly next: bigint;
  /** DT_…: the upper bits of a mode. */
  readonly type: number;
  readonly name: Uint8Array;
}

/**
 * The tree. Paths have no leading slash, and no `..`; the root's is empty. It throws errors with an
 * errno.
 */
export interface FileTree {
  /** Of a file by its path, of a symbolic link itself; or of an open one. */
  attributes(file: string | number): Attributes;
  /** Opens a regular file or a folder. */
  open(path: string): number;
  close(fd: number): void;
  read(fd: number, into: Uint8Array, at: number): number;
  /** Entries of an open folder; `most` bytes of them, some hundred at least. */
  entries(fd: number, from: bigint, most: number): readonly TreeEntry[];
  target(path: string): Uint8Array;
  /** Type, block size; blocks, free and available ones; files, free ones. */
  space(): readonly [number, number, bigint, bigint, bigint, bigint, bigint];
}

/** The longest message. */
export const MOST_MSIZE = 131_072;
const LEAST_MSIZE = 4096;
const VERSION = Buffer.from('9P2000.L');
/** A guest that never gives fids back must not take the host's memory, or its fds. */
const MOST_FIDS = 16_384;
const MOST_PATH_BYTES = 1 << 22;
const MOST_OPEN = 64;
/** Names in a walk; the answer of more might have no room. */
const MOST_NAMES = 16;
const NAME_MAX = 255;
const PATH_MAX = 4096;

const { S_IFMT, S_IFDIR, S_IFLNK } = constants;
const [QT_DIR, QT_LINK, QT_FILE] = [0x80, 0x02, 0];
/** Of Tlopen's flags: access, and what creates or cuts a file. */
const [L_ACCMODE, L_CREATE, L_TRUNCATE] = [3, 0o100, 0o1000];
const GETATTR_BASIC = 0x7ffn;
const UNLOCKED = 2;
const DIRENT_BYTES = QID_BYTES + 8 + 1 + 2;

export const NINEP_STATE = object({
  msize: integer,
  fids: list(
    object({
      fid: integer,
      path: text,
      inode: big,
      opened: flag,
      /** Of an open file; null: its process is dead, and it is to be opened again. */
      fd: nullable(fd),
    }),
  ),
});

export type NinepState = Shaped<typeof NINEP_STATE>;
type Fid = Omit<NinepState['fids'][number], 'fid'>;

export class NinepServer {
  readonly #tree: FileTree;
  readonly #fids = new Map<number, Fid>();
  #pathBytes = 0;
  /** Fids that are open. */
  #opened = 0;
  #msize = MOST_MSIZE;

  constructor(tree: FileTree) {
    this.#tree = tree;
  }

  /** Answers a request of at least HEADER bytes; returns the length of the answer in `into`. */
  answer(request: Uint8Array, into: Uint8Array): number {
    const message = new Reader(request);
    message.u32(); // its size, which the queue has told
    const type = message.u8();
    const tag = message.u16();
    const reply = new Writer(into.subarray(0, this.#msize));
    reply.length = HEADER;
    let said = type + 1;
    try {
      this.#do(type, message, reply);
    } catch (error) {
      const code = codeOf(error);
      if (code === undefined) throw error;
      said = R_ERROR;
      reply.length = HEADER;
      reply.u32(errnoNumber(code));
    }
    const { length } = reply;
    reply.length = 0;
    reply.u32(length).u8(said).u16(tag);
    return length;
  }

  /** The client is gone. */
  reset(): void {
    for (const fid of [...this.#fids.keys()]) this.#clunk(fid);
    this.#msize = MOST_MSIZE;
  }

  save(): NinepState {
    return { msize: this.#msize, fids: [...this.#fids].map(([fid, each]) => ({ fid, ...each })) };
  }

  /** A file without its fd is opened again, if it is still the same. */
  restore({ msize, fids }: NinepState): void {
    this.#msize = msize;
    for (const { fid, ...each } of fids) {
      this.#put(fid, each.opened && each.fd === null ? { ...each, fd: this.#reopened(each) } : each);
    }
  }

  #reopened({ path, inode }: Fid): number | null {
    let opened: number | undefined;
    try {
      opened = this.#tree.open(path);
      if (this.#tree.attributes(opened).inode === inode) return opened;
    } catch (error) {
      if (codeOf(error) === undefined) throw error;
    }
    if (opened !== undefined) this.#tree.close(opened);
    return null;
  }

  #do(type: number, message: Reader, reply: Writer): void {
    switch (type) {
      case T.version:
        this.#version(message, reply);
        return;
      case T.attach:
        this.#attach(message, reply);
        return;
      case T.walk:
        this.#walk(message, reply);
        return;
      case T.getattr:
        this.#getattr(message, reply);
        return;
      case T.lopen:
        this.#open(message, reply);
        return;
      case T.read:
        this.#read(message, reply);
        return;
      case T.readdir:
        this.#readdir(message, reply);
        return;
      case T.readlink:
        reply.string(this.#tree.target(this.#fid(message.u32()).path));
        return;
      case T.statfs:
        this.#statfs(message, reply);
        return;
      case T.clunk:
        this.#clunk(message.u32());
        return;
      case T.flush: // nothing is under way
      case T.fsync:
        return;
      case T.lock: // nobody else has a lock
        reply.u8(0);
        return;
      case T.getlock:
        message.u32();
        message.u8();
        reply.u8(UNLOCKED).raw(message.rest());
        return;
    }
    // a removal gives the fid back whatever comes of it
    if (type === T.remove) this.#clunk(message.u32());
    if (CHANGING.has(type)) throw new SysError('EROFS', 'the tree is read only');
    throw eopnotsupp(`message ${type}`);
  }

  #version(message: Reader, reply: Writer): void {
    const msize = message.u32();
    const version = message.string();
    if (msize < LEAST_MSIZE) throw einval(`msize ${msize}`);
    this.reset();
    this.#msize = Math.min(msize, MOST_MSIZE);
    const known = Buffer.compare(version, VERSION) === 0;
    reply.u32(this.#msize).string(known ? VERSION : Buffer.from('unknown'));
  }

  #attach(message: Reader, reply: Writer): void {
    const fid = message.u32();
    const attributes = this.#tree.attributes('');
    this.#new(fid, '', attributes.inode);
    reply.qid(qidOf(attributes));
  }

  #walk(message: Reader, reply: Writer): void {
    const from = this.#fid(message.u32());
    const fid = message.u32();
    const count = message.u16();
    if (count > MOST_NAMES) throw einval(`a walk of ${count} names`);
    const names = Array.from({ length: count }, () => message.string());
    let { path, inode } = from;
    const qids: Qid[] = [];
    try {
      for (const name of names) {
        path = below(path, name);
        const attributes = this.#tree.attributes(path);
        ({ inode } = attributes);
        qids.push(qidOf(attributes));
      }
    } catch (error) {
      if (codeOf(error) === undefined || qids.length === 0) throw error;
    }
    // the new fid is there only if the whole way is
    if (qids.length === count) this.#new(fid, path, inode, from);
    reply.u16(qids.length);
    for (const qid of qids) reply.qid(qid);
  }

  #getattr(message: Reader, reply: Writer): void {
    const { path, fd } = this.#fid(message.u32());
    const is = this.#tree.attributes(fd ?? path);
    reply.u64(GETATTR_BASIC).qid(qidOf(is)).u32(is.mode).u32(is.uid).u32(is.gid);
    reply.u64(BigInt(is.nlink), is.rdev, is.size, BigInt(is.blksize), is.blocks);
    for (const { seconds, ns } of [is.atime, is.mtime, is.ctime]) reply.u64(BigInt.asUintN(64, seconds), BigInt(ns));
    reply.u64(0n, 0n, 0n, 0n); // btime, generation, data version
  }

  #open(message: Reader, reply: Writer): void {
    const number = message.u32();
    const fid = this.#fid(number);
    const flags = message.u32();
    if (flags & (L_ACCMODE | L_CREATE | L_TRUNCATE)) throw new SysError('EROFS', 'the tree is read only');
    if (fid.opened) throw einval(`fid ${number} is open`);
    if (this.#opened >= MOST_OPEN) throw new SysError('EMFILE', `${MOST_OPEN} files are open`);
    const opened = this.#tree.open(fid.path);
    const attributes = this.#tree.attributes(opened);
    this.#clunk(number);
    this.#put(number, { ...fid, inode: attributes.inode, opened: true, fd: opened });
    reply.qid(qidOf(attributes)).u32(0); // the client's msize is its unit
  }

  #read(message: Reader, reply: Writer): void {
    const opened = this.#openFile(message.u32());
    const at = Number(message.u64());
    const count = Math.min(message.u32(), reply.room - 4);
    const into = reply.bytes.subarray(reply.length + 4, reply.length + 4 + count);
    const done = at > Number.MAX_SAFE_INTEGER ? 0 : this.#tree.read(opened, into, at);
    reply.u32(done);
    reply.length += done;
  }

  #readdir(message: Reader, reply: Writer): void {
    const opened = this.#openFile(message.u32());
    const from = message.u64();
    const most = Math.min(message.u32(), reply.room - 4);
    const start = reply.length;
    reply.u32(0);
    for (const { inode, next, type, name } of this.#tree.entries(opened, from, most)) {
      const given = reply.length - start - 4;
      if (given + DIRENT_BYTES + name.length > most) {
        if (given === 0) throw einval(`${most} bytes for an entry`); // none would be the end
        break;
      }
      reply.qid({ type: qidType(type << 12), version: 0, path: inode }).u64(BigInt.asUintN(64, next));
      reply.u8(type).string(name);
    }
    const { length } = reply;
    reply.length = start;
    reply.u32(length - start - 4);
    reply.length = length;
  }

  #statfs(message: Reader, reply: Writer): void {
    this.#fid(message.u32());
    const [type, blockSize, ...counts] = this.#tree.space();
    reply
      .u32(type)
      .u32(blockSize)
      .u64(...counts, 0n)
      .u32(NAME_MAX);
  }

  /** EBADF: the client has no such fid. */
  #fid(number: number): Fid {
    const fid = this.#fids.get(number);
    if (!fid) throw ebadf(`fid ${number}`);
    return fid;
  }

  #openFile(number: number): number {
    const { fd } = this.#fid(number);
    if (fd === null) throw ebadf(`fid ${number} is not open`);
    return fd;
  }

  /** A fid that is not open; a walk may give `from` its own new place. */
  #new(number: number, path: string, inode: bigint, from?: Fid): void {
    const known = this.#fids.get(number);
    if (known && (known !== from || known.opened)) throw einval(`fid ${number} is there`);
    if (!known && this.#fids.size >= MOST_FIDS) throw new SysError('EMFILE', `${MOST_FIDS} fids`);
    if (this.#pathBytes + path.length > MOST_PATH_BYTES) throw enomem('paths of fids are too long');
    if (known) this.#clunk(number);
    this.#put(number, { path, inode, opened: false, fd: null });
  }

  #put(number: number, fid: Fid): void {
    this.#fids.set(number, fid);
    this.#pathBytes += fid.path.length;
    if (fid.opened) this.#opened++;
  }

  #clunk(number: number): void {
    const { path, fd, opened } = this.#fid(number);
    this.#fids.delete(number);
    this.#pathBytes -= path.length;
    if (opened) this.#opened--;
    if (fd !== null) this.#tree.close(fd);
  }
}

/** U+FEFF at the beginning is a part of the name. */
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * The path of `name` in the folder `path`. No link is followed, so `..` takes the last name away.
 */
function below(path: string, name: Uint8Array): string {
  const text = utf8(name);
  if (text === '..') return path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : '';
  if (text === '' || text === '.' || /[/\0]/.test(text)) throw enoent('no name of a file');
  const whole = path === '' ? text : `${path}/${text}`;
  if (name.length > NAME_MAX || Buffer.byteLength(whole) >= PATH_MAX) throw enametoolong(text);
  return whole;
}

/** ENOENT: names that are no UTF-8 are not there. */
function utf8(name: Uint8Array): string {
  try {
    return decoder.decode(name);
  } catch {
    throw enoent('a name that is no UTF-8');
  }
}

const qidType = (mode: number): number => {
  const kind = mode & S_IFMT;
  return kind === S_IFDIR ? QT_DIR : kind === S_IFLNK ? QT_LINK : QT_FILE;
};

/** The version follows size and mtime, as QEMU's does. */
const qidOf = ({ mode, inode, mtime, size }: Attributes): Qid => ({
  type: qidType(mode),
  version: Number(BigInt.asUintN(32, mtime.seconds ^ BigInt(mtime.ns) ^ (size << 8n))),
  path: inode,
});
