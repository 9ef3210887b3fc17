/**
 * A red-black tree that takes the same shapes as Linux's lib/rbtree.c; both use Cormen's
 * algorithms. The place of a node matters, because some of the kernel's look-ups go astray in the
 * tree (dma-tree.ts).
 */

type Side = 'left' | 'right';
const opposite = (side: Side): Side => (side === 'left' ? 'right' : 'left');

/** The fields that a node must have. Only the tree writes them. */
export abstract class RbNode<T> {
  parent: T | undefined;
  left: T | undefined;
  right: T | undefined;
  red = true;
}

export class RbTree<T extends RbNode<T>> {
  root: T | undefined;

  /** `before` is true if the new node belongs to the left of a node that is already here. */
  insert(node: T, before: (other: T) => boolean): void {
    let parent: T | undefined;
    let side: Side = 'left';
    for (let at = this.root; at; at = at[side]) {
      parent = at;
      side = before(at) ? 'left' : 'right';
    }
    node.parent = parent;
    node.left = undefined;
    node.right = undefined;
    node.red = true;
    if (parent) parent[side] = node;
    else this.root = node;
    this.#balanceInsertion(node);
  }

  /** Removes a node that is in the tree. */
  delete(node: T): void {
    let hole: T | undefined;
    let { red, parent } = node;
    if (node.left && node.right) {
      const heir = lowest(node.right);
      hole = heir.right;
      const heirWasRed = heir.red;
      parent = heir.parent === node ? heir : heir.parent;
      if (heir.parent !== node) {
        this.#replace(heir, hole);
        adopt(heir, 'right', node.right);
      }
      this.#replace(node, heir);
      adopt(heir, 'left', node.left);
      heir.red = red;
      red = heirWasRed;
    } else {
      hole = node.left ?? node.right;
      this.#replace(node, hole);
    }
    if (!red) this.#balanceDeletion(hole, parent);
  }

  first(): T | undefined {
    return this.root && lowest(this.root);
  }

  /** Two red nodes may follow each other at `inserted`. */
  #balanceInsertion(inserted: T): void {
    let node = inserted;
    for (let { parent } = node; parent?.red; { parent } = node) {
      const grandparent = parent.parent!; // the root is black
      const side: Side = parent === grandparent.left ? 'left' : 'right';
      const uncle = grandparent[opposite(side)];
      if (uncle?.red) {
        parent.red = false;
        uncle.red = false;
        grandparent.red = true;
        node = grandparent;
        continue;
      }
      if (node === parent[opposite(side)]) this.#rotate(parent, side);
      grandparent[side]!.red = false;
      grandparent.red = true;
      this.#rotate(grandparent, opposite(side));
      break;
    }
    this.root!.red = false;
  }

  /** The paths through `hole`, a child of `holeParent`, lack a black node. */
  #balanceDeletion(hole: T | undefined, holeParent: T | undefined): void {
    let node = hole;
    for (let parent = holeParent; parent && !node?.red; parent = node.parent) {
      const side: Side = node === parent.left ? 'left' : 'right';
      const far = opposite(side);
      let sibling = parent[far]!; // there is one, or its paths were shorter
      if (sibling.red) {
        sibling.red = false;
        parent.red = true;
        this.#rotate(parent, side);
        sibling = parent[far]!;
      }
      if (!sibling.left?.red && !sibling.right?.red) {
        sibling.red = true;
        node = parent;
        continue;
      }
      if (!sibling[far]?.red) {
        sibling[side]!.red = false;
        sibling.red = true;
        this.#rotate(sibling, far);
        sibling = parent[far]!;
      }
      sibling.red = parent.red;
      parent.red = false;
      sibling[far]!.red = false;
      this.#rotate(parent, side);
      return;
    }
    if (node) node.red = false;
  }

  /** `node` goes down to `side`, and its child on the other side takes its place. */
  #rotate(node: T, side: Side): void {
    const up = node[opposite(side)]!;
    adopt(node, opposite(side), up[side]);
    this.#replace(node, up);
    adopt(up, side, node);
  }

  /** `other` takes the place of `node` as a child of node's parent. */
  #replace(node: T, other: T | undefined): void {
    const { parent } = node;
    if (!parent) this.root = other;
    else if (parent.left === node) parent.left = other;
    else parent.right = other;
    if (other) other.parent = parent;
  }
}

function adopt<T extends RbNode<T>>(parent: T, side: Side, child: T | undefined): void {
  parent[side] = child;
  if (child) child.parent = parent;
}

function lowest<T extends RbNode<T>>(from: T): T {
  let node = from;
  while (node.left) node = node.left;
  return node;
}

/** The node after `node` in order. */
export function next<T extends RbNode<T>>(node: T): T | undefined {
  if (node.right) return lowest(node.right);
  let at = node;
  while (at.parent && at === at.parent.right) at = at.parent;
  return at.parent;
}
