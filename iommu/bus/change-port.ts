/**
 * The port by which the board tells a thread of changes of the physical address space. It is apart
 * from physical.ts, because a program that is made from a V8 snapshot cannot have worker_threads in
 * it (vmm/program/snapshot.ts).
 */
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';

import type { PhysicalChange } from './physical.ts';

/** Gives the oldest change that nobody has received. */
export const changesFrom = (port: MessagePort) => (): PhysicalChange | undefined =>
  (receiveMessageOnPort(port) as { readonly message: PhysicalChange } | undefined)?.message;
