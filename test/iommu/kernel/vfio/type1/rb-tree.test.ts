import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { next, RbNode, RbTree } from '../../../../../iommu/kernel/vfio/type1/rb-tree.ts';

class Key extends RbNode<Key> {
  readonly key: number;

  constructor(key: number) {
    super();
    this.key = key;
  }
}

/** Keys and colours, children in brackets. */
const shape = (node: Key | undefined): string =>
  node
    ? `${node.key}${node.red ? 'r' : 'b'}${node.left || node.right ? `(${shape(node.left)} ${shape(node.right)})` : ''}`
    : '-';

/**
 * Black nodes on each path down from `node`; throws where the tree is not red-black or a parent is
 * wrong.
 */
function blackHeight(node: Key | undefined, parent: Key | undefined): number {
  if (!node) return 0;
  expect(node.parent).toBe(parent);
  if (node.red) expect(parent === undefined || parent.red).toBe(false);
  const height = blackHeight(node.left, node);
  expect(blackHeight(node.right, node)).toBe(height);
  return height + (node.red ? 0 : 1);
}

function insert(tree: RbTree<Key>, key: number): Key {
  const node = new Key(key);
  tree.insert(node, (other) => key <= other.key);
  return node;
}

function inOrder(tree: RbTree<Key>): number[] {
  const keys: number[] = [];
  for (let node = tree.first(); node; node = next(node)) keys.push(node.key);
  return keys;
}

describe('RbTree', () => {
  it('stays in order and red-black over any insertions and deletions', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(60), { maxLength: 200 }), (keys) => {
        const tree = new RbTree<Key>();
        const nodes = new Map<number, Key>();
        for (const key of keys) {
          const known = nodes.get(key);
          if (known) {
            tree.delete(known);
            nodes.delete(key);
          } else nodes.set(key, insert(tree, key));
          blackHeight(tree.root, undefined);
          expect(inOrder(tree)).toEqual([...nodes.keys()].sort((a, b) => a - b));
        }
      }),
      { numRuns: 300 },
    );
  });

  it('has the shapes of the textbook', () => {
    const tree = new RbTree<Key>();
    const nodes = [41, 38, 31, 12, 19, 8].map((key) => insert(tree, key));
    expect(shape(tree.root)).toBe('38b(19r(12b(8r -) 31b) 41b)');
    for (const [key, left] of [
      [8, '38b(19r(12b 31b) 41b)'],
      [12, '38b(19b(- 31r) 41b)'],
      [19, '38b(31b 41b)'],
      [31, '38b(- 41r)'],
      [38, '41b'],
      [41, '-'],
    ] as const) {
      tree.delete(nodes.find((node) => node.key === key)!);
      expect(shape(tree.root)).toBe(left);
    }
  });

  it('puts the next one in the place of a node with two children, as Linux does', () => {
    const tree = new RbTree<Key>();
    const nodes = [20, 10, 30, 25, 40].map((key) => insert(tree, key));
    tree.delete(nodes[0]!);
    expect(shape(tree.root)).toBe('25b(10b 30b(- 40r))');
  });

  /**
   * Made with code taken from lib/rbtree.c; other trees that are red-black, too, look different by
   * then.
   */
  it.each([
    [
      100,
      '18b(6r(4b(2b(1r 3r) 5b) 10b(9b 14b(11r -))) 31r(22b(21b 28r(24b(23r -) 29b(- 30r))) 39b(33b(32r 35r) 42r(40b 44b))))',
    ],
    [250, '27b(8b(3b(1b(0r 2r) 4b) 22r(11b(10b 12b) 24b(23b 25b))) 35b(33b(31b(28r -) 34b) 40b(38b 46b(44r 47r))))'],
    [
      400,
      '27b(17r(2b(1b(0r -) 11r(9b(4r -) 15b(13r 16r))) 20b(18b 25r(24b(21r -) 26b))) 32b(30b(28r -) 39r(37b(- 38r) 43b(41r 47r))))',
    ],
  ])('has the shape of Linux after %i insertions and deletions', (operations, expected) => {
    const tree = new RbTree<Key>();
    const nodes = new Map<number, Key>();
    for (let i = 0, random = 1; i < operations; i++) {
      random = (random * 48271) % 0x7fff_ffff;
      const key = random % 48;
      const known = nodes.get(key);
      if (known) {
        tree.delete(known);
        nodes.delete(key);
      } else nodes.set(key, insert(tree, key));
    }
    expect(shape(tree.root)).toBe(expected);
  });
});
