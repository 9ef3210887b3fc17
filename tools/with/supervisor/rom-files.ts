/**
 * The files `rom` of the tree: what a function's expansion ROM has, for root only (pci-sysfs.c).
 * DEVIATION: on Linux it can be read only after a 1 was written to it; here it can be read always.
 */
import { readlinkSync, writeSync } from 'node:fs';

import { ROM_PIECE } from '../../../iommu/abi/control.ts';
import { eacces, eio } from '../../../platform/errno.ts';
import { close, O_APPEND, open } from '../../../platform/libc/fd.ts';
import { createMemory } from '../../../platform/memory.ts';
import { HostClient } from '../../clients/host-client.ts';

const ROM_FILE = /\/sys\/devices\/pci0000:00\/([^/]+)\/rom$/;
const OPEN_MODE = 3;

/** The images of a function's ROM. EIO: the host is gone. */
export type ReadImages = (bdf: string) => Uint8Array;

export class RomFiles {
  readonly #read: ReadImages;
  readonly #isRoot: boolean;

  /** `isRoot`: the program has CAP_DAC_OVERRIDE, as root has. */
  constructor(read: ReadImages, isRoot: boolean) {
    this.#read = read;
    this.#isRoot = isRoot;
  }

  /** The function whose ROM the open file `fd` of the tree stands for. */
  functionOf(fd: number): string | undefined {
    return ROM_FILE.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[1];
  }

  /** EACCES for anybody but root. */
  mayOpen(bdf: string): void {
    if (!this.#isRoot) throw eacces(`the ROM of ${bdf} is for root`);
  }

  /**
   * A fd for one open(2). What is written to it switches nothing, and goes behind the images, where
   * it does no harm.
   */
  open(bdf: string, flags: number): number {
    this.mayOpen(bdf);
    const images = this.#read(bdf);
    const memory = createMemory(`rom ${bdf}`, images.length);
    try {
      for (let at = 0; at < images.length; ) at += writeSync(memory, images, at, images.length - at, at);
      return open(`/proc/self/fd/${memory}`, (flags & OPEN_MODE) | O_APPEND);
    } finally {
      close(memory);
    }
  }
}

/** From the host's control device. A ROM does not change, so each is read once. */
export function imagesOfHost(socketPath: string): ReadImages {
  const known = new Map<string, Uint8Array>();
  return (bdf) => {
    const images = known.get(bdf) ?? readImages(socketPath, bdf);
    known.set(bdf, images);
    return images;
  };
}

function readImages(socketPath: string, bdf: string): Uint8Array {
  const host = connected(socketPath);
  try {
    const pieces: Uint8Array[] = [];
    for (let offset = 0; ; offset += ROM_PIECE) {
      const bytes = Uint8Array.from(host.ask({ op: 'rom', bdf, offset }).bytes); // they last until the next request
      pieces.push(bytes);
      if (bytes.length < ROM_PIECE) return Buffer.concat(pieces);
    }
  } finally {
    host.close();
  }
}

function connected(socketPath: string): HostClient {
  try {
    return new HostClient(socketPath);
  } catch (error) {
    throw eio((error as Error).message);
  }
}
