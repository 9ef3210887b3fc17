/**
 * `vmm --standby MESSAGES FDS [SNAPSHOT]` stands by for the VMM that started it: the fds of two
 * sockets, and one to be closed.
 */
export const STANDBY = '--standby';
