/** Reader of flattened device trees (Devicetree Specification 0.4 §5), for tests. */

/** Properties of the nodes by their paths; the root is ''. */
export type Tree = ReadonlyMap<string, ReadonlyMap<string, Buffer>>;

const BEGIN_NODE = 1;
const END_NODE = 2;
const PROP = 3;
const NOP = 4;

export function readFdt(blob: Uint8Array): Tree {
  const bytes = Buffer.from(blob);
  const [structure, strings] = [bytes.readUInt32BE(8), bytes.readUInt32BE(12)];
  const text = (at: number): string => bytes.toString('latin1', at, bytes.indexOf(0, at));
  const tree = new Map<string, Map<string, Buffer>>();
  const path: string[] = [];
  for (let at = structure; ; ) {
    const token = bytes.readUInt32BE(at);
    at += 4;
    if (token === BEGIN_NODE) {
      path.push(text(at));
      at += Math.ceil((path.at(-1)!.length + 1) / 4) * 4;
      tree.set(path.join('/'), new Map());
    } else if (token === PROP) {
      const [length, name] = [bytes.readUInt32BE(at), text(strings + bytes.readUInt32BE(at + 4))];
      tree.get(path.join('/'))!.set(name, bytes.subarray(at + 8, at + 8 + length));
      at += 8 + Math.ceil(length / 4) * 4;
    } else if (token === END_NODE) path.pop();
    else if (token !== NOP) return tree;
  }
}

/** A property of numbers. */
export const cellsOf = (value: Buffer): number[] =>
  Array.from({ length: value.length / 4 }, (_, i) => value.readUInt32BE(4 * i));
