/** The struct stat of VFIO's device nodes: in the tree they are plain files. */
import { VFIO_CONTAINER_PATH } from '../../../iommu/abi/wire.ts';

const NODE_MODE = 0o020600; // S_IFCHR, and as VFIO makes them
/** /dev/vfio/vfio is a misc device of this number (VFIO_MINOR, linux/miscdevice.h). */
const MISC = { major: 10, minor: 196 };
/** Linux gives groups a number of its choice (alloc_chrdev_region); this is one it could choose. */
const GROUP_MAJOR = 511;

const STAT = {
  x64: { mode: 24, rdev: 40 },
  arm64: { mode: 16, rdev: 32 },
}[process.arch as 'x64' | 'arm64'];
const STATX = { mode: 28, rdevMajor: 128, rdevMinor: 132 };

interface Number {
  readonly major: number;
  readonly minor: number;
}

const numberOf = (path: string): Number =>
  path === VFIO_CONTAINER_PATH
    ? MISC
    : { major: GROUP_MAJOR, minor: parseInt(path.slice(path.lastIndexOf('/') + 1), 10) };

/** `bytes` of a plain file as those of the node at `path`. */
export function asNode(path: string, bytes: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const { major, minor } = numberOf(path);
  view.setUint32(STAT.mode, NODE_MODE, true);
  view.setBigUint64(STAT.rdev, BigInt((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)), true);
  return bytes;
}

/** The same for a struct statx. */
export function asNodeX(path: string, bytes: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const { major, minor } = numberOf(path);
  view.setUint16(STATX.mode, NODE_MODE, true);
  view.setUint32(STATX.rdevMajor, major, true);
  view.setUint32(STATX.rdevMinor, minor, true);
  return bytes;
}
