/**
 * System calls on paths. Those of VFIO's device nodes and of the folders of sysfs that tell of PCI
 * devices are answered from a folder tree of ours (tools/with/tree); all others go on.
 */
import { constants, readlinkSync } from 'node:fs';
import { posix } from 'node:path';
import { VFIO_GROUP_DIR } from '../../../iommu/abi/wire.ts';
import { eacces, enoent, eopnotsupp } from '../../../platform/errno.ts';
import { close, O_CLOEXEC, O_PATH } from '../../../platform/libc/fd.ts';
import { linkTarget, openInRoot, statBytes, statxBytes } from '../../../platform/libc/in-root.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';
import { TREE_FOLDERS } from '../tree/folders.ts';
import { asNode, asNodeX } from '../tree/node-stat.ts';
import type { RomFiles } from './rom-files.ts';
import { type Answer, type Call, intArg } from './steps.ts';

export const AT_FDCWD = -100;
export const AT_SYMLINK_NOFOLLOW = 0x100;
const PATH_MAX = 4096;
const O_ACCMODE = 3;
const O_CREAT = 0o100;
const { O_NOFOLLOW } = constants; // another number on arm64
const W_OK = 2;
const X_OK = 1;

/** The tree: its path, and an open fd of it. */
export interface Tree {
  readonly path: string;
  readonly fd: number;
  /** Of functions that have a ROM. */
  readonly roms: RomFiles;
}

const inside = (path: string, folder: string): boolean => path === folder || path.startsWith(`${folder}/`);
const isOurs = (path: string): boolean => TREE_FOLDERS.some((folder) => inside(path, folder));
export const isNode = (path: string): boolean => path.startsWith(VFIO_GROUP_DIR) && path.length > VFIO_GROUP_DIR.length;

/** A path of the call's as the tree knows it; undefined for one that is none of ours. */
export function ourPath(tree: Tree, call: Call, dirfd: number, vaddr: bigint): string | undefined {
  const given = readPath(call, vaddr);
  if (!given) return undefined; // of an open file (AT_EMPTY_PATH); or Linux says what is wrong
  const whole = given.startsWith('/') ? given : absolute(tree, call.tid, dirfd, given);
  const path = whole && posix.normalize(whole).replace(/(?<=.)\/$/, '');
  return path !== undefined && isOurs(path) ? path : undefined;
}

/** The path that a relative one means; undefined when `dirfd` is no folder's. */
function absolute(tree: Tree, tid: number, dirfd: number, path: string): string | undefined {
  try {
    const from = readlinkSync(dirfd === AT_FDCWD ? `/proc/${tid}/cwd` : `/proc/${tid}/fd/${dirfd}`);
    const folder = inside(from, tree.path) ? from.slice(tree.path.length) : from;
    return `${folder}/${path}`;
  } catch {
    return undefined; // Linux says why
  }
}

/** A C string of at most 4096 bytes; undefined where it cannot be read. */
function readPath({ memory }: Call, vaddr: bigint): string | undefined {
  let path = '';
  for (let at = vaddr; path.length < PATH_MAX; ) {
    const length = PAGE_SIZE - Number(at % BigInt(PAGE_SIZE));
    const bytes = memory.read(at, Math.min(length, path.length === 0 ? 256 : PATH_MAX));
    const end = bytes.indexOf(0);
    path += Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString('latin1');
    if (end >= 0) return path;
    if (bytes.length === 0) return undefined;
    at += BigInt(bytes.length);
  }
  return undefined;
}

/** Calls `use` with the tree's file. ENOENT: there is none. */
function withFile<T>(tree: Tree, path: string, flags: number, use: (fd: number) => T): T {
  const fd = openInRoot(tree.fd, path, O_PATH | flags);
  try {
    return use(fd);
  } finally {
    close(fd);
  }
}

/** The function whose ROM is at `path`. */
const romAt = (tree: Tree, path: string): string | undefined =>
  path.endsWith('/rom') ? withFile(tree, path, 0, (fd) => tree.roms.functionOf(fd)) : undefined;

/** open(2) of a file of the tree, which nobody may write but for a ROM's. */
export function openInTree(tree: Tree, path: string, flags: number): Answer {
  const rom = (flags & O_PATH) === 0 ? romAt(tree, path) : undefined;
  if (rom !== undefined) return { fd: tree.roms.open(rom, flags), cloexec: (flags & O_CLOEXEC) !== 0 };
  if ((flags & (O_ACCMODE | O_CREAT)) !== 0) {
    if ((flags & O_CREAT) === 0) withFile(tree, path, 0, () => undefined); // ENOENT
    throw eacces(`${path} cannot be written`);
  }
  return { fd: openInRoot(tree.fd, path, flags), cloexec: (flags & O_CLOEXEC) !== 0 };
}

/** stat(2), lstat(2), newfstatat(2): the struct goes to `vaddr`. */
export function stat(tree: Tree, call: Call, path: string, { vaddr, flags }: { vaddr: bigint; flags: number }): Answer {
  const bytes = withFile(tree, path, noFollow(flags), statBytes);
  call.memory.write(vaddr, isNode(path) ? asNode(path, bytes) : bytes);
  return 0;
}

export function statx(tree: Tree, call: Call, path: string): Answer {
  const mask = Number(BigInt.asUintN(32, call.args[3]!));
  const bytes = withFile(tree, path, noFollow(intArg(call, 2)), (fd) => statxBytes(fd, mask));
  call.memory.write(call.args[4]!, isNode(path) ? asNodeX(path, bytes) : bytes);
  return 0;
}

const noFollow = (flags: number): number => ((flags & AT_SYMLINK_NOFOLLOW) !== 0 ? O_NOFOLLOW : 0);

/** readlink(2): as much of the target as `size` bytes hold. */
export function readlink(
  tree: Tree,
  call: Call,
  path: string,
  { vaddr, size }: { vaddr: bigint; size: number },
): Answer {
  const target = withFile(tree, path, O_NOFOLLOW, linkTarget).subarray(0, size);
  call.memory.write(vaddr, target);
  return target.length;
}

/** getxattr(2), listxattr(2): no file of the tree has extended attributes, nor room for any. */
export function noXattr(tree: Tree, path: string): Answer {
  withFile(tree, path, O_NOFOLLOW, () => undefined);
  throw eopnotsupp(path);
}

/** access(2): nodes, and ROMs by root, can be read and written, other files of the tree read. */
export function access(tree: Tree, path: string, mode: number): Answer {
  withFile(tree, path, 0, () => undefined);
  const rom = romAt(tree, path);
  if (rom !== undefined && mode !== 0) tree.roms.mayOpen(rom);
  if (isNode(path) || rom !== undefined ? (mode & X_OK) !== 0 : (mode & W_OK) !== 0) throw eacces(path);
  return 0;
}

/** ENOENT unless the tree has such a node: a group that the host does not have. */
export function mustBeNode(tree: Tree, path: string): void {
  if (!isNode(path)) throw enoent(path);
  withFile(tree, path, 0, () => undefined);
}
