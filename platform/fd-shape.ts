/**
 * Fds in saved states. A section declares each of its fds by the shape `fd`. So a state tells by
 * itself which fds must go with it, and a process that got the fds under other numbers can read it.
 */
import { integer, type Shape } from './shape.ts';

/** Sees each fd of a value that is being checked, and returns the number to use for it. */
export type FdVisitor = (fd: number, at: string) => number;

let visitor: FdVisitor = (fd) => fd;

/** A number of an open fd. */
export const fd: Shape<number> = (value, at) => visitor(integer(value, at), at);

/** Runs `work`, which checks values by their shapes; `visit` sees each fd in them. */
export function visitingFds<T>(visit: FdVisitor, work: () => T): T {
  const before = visitor;
  visitor = visit;
  try {
    return work();
  } finally {
    visitor = before;
  }
}
