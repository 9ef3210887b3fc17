/** What a machine's fw_cfg device has: numbers of the machine, the guest's files, the user's. */
import { gunzipSync } from 'node:zlib';
import { codeOf } from '../../../platform/errno.ts';
import { isGzip } from '../../../platform/gzip.ts';
import { readRegularFile } from '../../../platform/regular-file.ts';
import { type Content, type FwCfgContents, ITEM, u16, u32 } from './fw-cfg.ts';

/** A file for the guest: a path of the host, or the bytes themselves. */
export type FwCfgFile = { readonly name: string } & ({ readonly path: string } | { readonly text: string });

export interface FwCfgPlan {
  readonly harts: number;
  /** Paths, and the command line. Absent without a kernel, or without firmware: nobody asks. */
  readonly boot?:
    | { readonly kernel: string; readonly initrd?: string | undefined; readonly append?: string | undefined }
    | undefined;
  readonly files: readonly FwCfgFile[];
}

/** A file that has gone is empty. */
function read(path: string): Uint8Array {
  try {
    return readRegularFile(path); // it may have become a FIFO, and the guest's thread waits for none
  } catch (error) {
    if (codeOf(error) === undefined) throw error;
    return new Uint8Array();
  }
}

/** A kernel in gzip is unpacked, as QEMU does it; what cannot be is given as it is. */
function readKernel(path: string): Uint8Array {
  const file = read(path);
  if (!isGzip(file)) return file;
  try {
    return gunzipSync(file);
  } catch {
    return file; // no gzip after all
  }
}

const text = (value: string): Uint8Array => Buffer.from(value);

/** Files are read when the guest asks for them. */
export function fwCfgContents({ harts, boot, files }: FwCfgPlan): FwCfgContents {
  return {
    items: new Map<number, Content>([
      [ITEM.NB_CPUS, () => u16(harts)],
      [ITEM.NOGRAPHIC, () => u16(1)],
      [ITEM.BOOT_MENU, () => u16(0)],
      ...(boot ? bootItems(boot) : []),
    ]),
    files: new Map(files.map((file) => [file.name, () => ('path' in file ? read(file.path) : text(file.text))])),
  };
}

function bootItems({ kernel, initrd, append }: NonNullable<FwCfgPlan['boot']>): (readonly [number, Content])[] {
  return [
    [ITEM.KERNEL_SIZE, () => u32(readKernel(kernel).length)],
    [ITEM.KERNEL_DATA, () => readKernel(kernel)],
    ...(initrd === undefined
      ? []
      : ([
          [ITEM.INITRD_SIZE, () => u32(read(initrd).length)],
          [ITEM.INITRD_DATA, () => read(initrd)],
        ] as const)),
    ...(append === undefined
      ? []
      : ([
          [ITEM.CMDLINE_SIZE, () => u32(text(append).length + 1)],
          [ITEM.CMDLINE_DATA, () => text(`${append}\0`)],
        ] as const)),
  ];
}
