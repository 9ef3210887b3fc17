/**
 * Files below a folder: no symbolic link is followed on the way, `..` does not leave the folder,
 * and no other file system is entered, whoever renames what meanwhile.
 */
import { openat2 } from './openat2.ts';

const RESOLVE_NO_XDEV = 0x01;
const RESOLVE_NO_SYMLINKS = 0x04;
const RESOLVE_BENEATH = 0x08;

/** close-on-exec. A symbolic link itself can be opened by O_PATH | O_NOFOLLOW; else it is ELOOP. */
export const openBeneath = (root: number, path: string, flags: number): number =>
  openat2(root, path, flags, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
