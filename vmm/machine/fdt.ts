/** Writer of flattened device trees (Devicetree Specification 0.4 §5), version 17. */

const FDT_MAGIC = 0xd00d_feed;
const FDT_VERSION = 17;
const FDT_LAST_COMP_VERSION = 16;
const HEADER_SIZE = 40;
const RESERVE_MAP_SIZE = 16; // its terminating entry only
const FDT_BEGIN_NODE = 1;
const FDT_END_NODE = 2;
const FDT_PROP = 3;
const FDT_END = 9;

/**
 * A property's value: cells (u32), a string, a list of strings, or nothing (`true`: the property
 * only exists).
 */
export type FdtValue = number | readonly number[] | string | readonly string[] | true;

export interface FdtNode {
  readonly [name: string]: FdtValue | FdtNode;
}

/** 64-bit numbers, each as two cells. */
export const cells64 = (...values: readonly number[]): number[] =>
  values.flatMap((value) => [Math.floor(value / 2 ** 32), value % 2 ** 32]);

/** The blob of the tree under `root`. Subnodes follow properties, as dtc wants them. */
export function writeFdt(root: FdtNode): Uint8Array {
  const structure = new ByteWriter();
  const strings = new ByteWriter();
  const stringAt = new Map<string, number>();
  const nameOffset = (name: string): number => {
    let at = stringAt.get(name);
    if (at === undefined) {
      at = strings.length;
      stringAt.set(name, at);
      strings.string(name);
    }
    return at;
  };
  const node = (name: string, body: FdtNode): void => {
    structure.u32(FDT_BEGIN_NODE);
    structure.string(name);
    structure.align(4);
    const entries = Object.entries(body);
    for (const [key, value] of entries) {
      if (isNode(value)) continue;
      const bytes = encodeValue(value);
      structure.u32(FDT_PROP);
      structure.u32(bytes.length);
      structure.u32(nameOffset(key));
      structure.bytes(bytes);
      structure.align(4);
    }
    for (const [key, value] of entries) if (isNode(value)) node(key, value);
    structure.u32(FDT_END_NODE);
  };
  node('', root);
  structure.u32(FDT_END);

  const structureAt = HEADER_SIZE + RESERVE_MAP_SIZE;
  const stringsAt = structureAt + structure.length;
  const blob = new ByteWriter();
  const header = [
    FDT_MAGIC,
    stringsAt + strings.length, // totalsize
    structureAt,
    stringsAt,
    HEADER_SIZE, // off_mem_rsvmap
    FDT_VERSION,
    FDT_LAST_COMP_VERSION,
    0, // boot_cpuid_phys
    strings.length,
    structure.length,
  ];
  for (const word of header) blob.u32(word);
  blob.bytes(new Uint8Array(RESERVE_MAP_SIZE));
  blob.bytes(structure.take());
  blob.bytes(strings.take());
  return blob.take();
}

const isNode = (value: FdtValue | FdtNode): value is FdtNode => typeof value === 'object' && !Array.isArray(value);

function encodeValue(value: FdtValue): Uint8Array {
  const out = new ByteWriter();
  if (value === true) return out.take();
  const items = typeof value === 'object' ? value : [value];
  for (const item of items) {
    if (typeof item === 'string') out.string(item);
    else out.u32(item);
  }
  return out.take();
}

/** Big-endian bytes, appended. */
class ByteWriter {
  readonly #bytes: number[] = [];

  get length(): number {
    return this.#bytes.length;
  }

  u32(value: number): void {
    this.#bytes.push((value >>> 24) & 0xff, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff);
  }

  /** Appends UTF-8 and a NUL. */
  string(text: string): void {
    this.bytes(new TextEncoder().encode(`${text}\0`));
  }

  bytes(bytes: Uint8Array): void {
    for (const byte of bytes) this.#bytes.push(byte);
  }

  align(to: number): void {
    while (this.#bytes.length % to !== 0) this.#bytes.push(0);
  }

  take(): Uint8Array {
    return Uint8Array.from(this.#bytes);
  }
}
