/**
 * Between the runner and a client process, and between the actors of one: JSON lines on pipes,
 * messages to threads. All of it is data of our own, so nothing is checked.
 */

import type { Change, SavedState } from '../steps/state.ts';
import type { Step } from '../vector-file.ts';

/** Runner → client, one line on stdin: the case to play. */
export interface Assignment {
  readonly socketPath: string;
  /**
   * Name of a device in the vectors → path of its group, name it has for VFIO_GROUP_GET_DEVICE_FD.
   */
  readonly devices: Readonly<Record<string, { readonly group: number; readonly name: string }>>;
  readonly steps: readonly Step[];
}

/** Client → runner, lines on stdout, then its end by SIGKILL. */
export type Report =
  /** The answer to a step. */
  | { readonly step: number; readonly answer: string }
  /** Where this machine made it do something else than the script says. */
  | { readonly note: string }
  /** The client itself cannot go on. */
  | { readonly failure: string }
  | { readonly done: true };

/**
 * To an actor: one step, for a thread with the state as it is now (a forked process has its own).
 */
export type ActorRequest =
  | { readonly step: Step; readonly state?: SavedState }
  /** execve of the main actor's interpreter, by this very thread. */
  | { readonly exec: ExecArguments };

export interface ExecArguments {
  readonly path: string;
  readonly argv: readonly string[];
}

export interface ActorReply {
  readonly answer: string;
  readonly changes: readonly Change[];
  /** The step makes no sense. */
  readonly failure?: string;
}

/** A thread of the client. */
export interface ThreadData {
  readonly socketPath: string;
  readonly devices: Assignment['devices'];
}

/** From a thread or a forked process: once that it is ready, then replies. */
export type ActorMessage = { readonly tid: number } | ActorReply;

/** A forked process: first line of its stdin. */
export interface ForkData extends ThreadData {
  readonly parentPid: number;
  readonly state: SavedState;
  /** Fds that are close-on-exec in the parent. */
  readonly cloexec: readonly number[];
}

/** What an exec leaves to the next image, in a memfd. */
export interface Handover {
  /** The main actor goes on after step number `step`; a forked process waits for its next one. */
  readonly next: { readonly assignment: Assignment; readonly step: number } | { readonly fork: ThreadData };
  readonly state: SavedState;
}
