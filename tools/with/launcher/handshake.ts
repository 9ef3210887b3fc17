/** What the launcher and its parent agree on. */

/** The launcher's fd to its parent: it sends its listener's number, and a byte comes back. */
export const LAUNCHER_FD = 3;

/** Exit statuses as env(1) has them. */
export const NOT_EXECUTABLE = 126;
export const NOT_FOUND = 127;
