/** Options of V8 on which it depends whether it takes what it has kept of a program. */

/**
 * V8 keeps the snapshot's hash seed. Otherwise it would hash everything in the snapshot again with
 * a random seed: 8 ms of 31 (node 20.20). A random seed protects servers from strings that
 * strangers choose to collide; a VMM's strings come only from its own user. A node without this
 * option refuses it.
 */
export const KEEP_HASHES = '--no-rehash-snapshot';
/** The contrary, which is V8's own choice. */
export const HASH_ANEW = '--rehash-snapshot';
