/**
 * argv: pid, vaddr. Says the inode of the object that is mapped there, or `refused`: for a test
 * that has to see whether the look-up hangs.
 */
import { fstatSync } from 'node:fs';

import { AddressSpace } from '../../platform/process.ts';
import { runWhole } from '../../platform/slices.ts';

const space = new AddressSpace(Number(process.argv[2]), { mapFiles: false });
const fd = runWhole(space.openObject(space.vmaAt(Number(process.argv[3]))!));
console.log(fd === undefined ? 'refused' : fstatSync(fd).ino);
