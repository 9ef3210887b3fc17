/**
 * The protocol between the runner and a client process, and between the actors of a client: JSON
 * lines on pipes, messages to threads. All of this data is our own, so nothing is checked.
 */

import type { Change, SavedState } from '../steps/state.ts';
import type { Step } from '../vector-file.ts';

/** Runner → client, one line on stdin: the case to play. */
export interface Assignment {
  /** Where the host listens. */
  readonly socketPath: string;
  /**
   * Name of a device in the vectors → the number of its group, and its name for
   * VFIO_GROUP_GET_DEVICE_FD.
   */
  readonly devices: Readonly<Record<string, { readonly group: number; readonly name: string }>>;
  readonly steps: readonly Step[];
}

/** Client → runner: lines on stdout. After the last one the client ends itself by SIGKILL. */
export type Report =
  /** The answer to a step. */
  | { readonly step: number; readonly answer: string }
  /** A difference between the script and what this machine let the client do. */
  | { readonly note: string }
  /** The client itself cannot go on. */
  | { readonly failure: string }
  | { readonly done: true };

/**
 * Main actor → another actor: one step. A thread gets the present state with it; a forked process
 * has its own state.
 */
export type ActorRequest =
  | { readonly step: Step; readonly state?: SavedState }
  /** The reply has what the actor holds. */
  | { readonly tell: true }
  | { readonly take: PassedFd }
  /** execve of the main actor's interpreter, made by the thread that gets this request. */
  | { readonly exec: ExecArguments };

export interface ExecArguments {
  readonly path: string;
  readonly argv: readonly string[];
}

/** The open file behind a fd of another process, and the receiver's name for it. */
export interface PassedFd {
  readonly pid: number;
  readonly fd: number;
  readonly name: string;
}

/** What a process inherits that is forked. */
export interface Holdings {
  readonly state: SavedState;
  /** Fds that are close-on-exec. */
  readonly cloexec: readonly number[];
}

export interface ActorReply {
  readonly answer: string;
  readonly changes: readonly Change[];
  readonly holdings?: Holdings;
  /** Why the step makes no sense. */
  readonly failure?: string;
}

/** The data that a thread of the client starts with. */
export type ThreadData = Pick<Assignment, 'socketPath' | 'devices'>;

/**
 * Thread or forked process → main actor: first its tid, which says that it is ready, then replies.
 */
export type ActorMessage = { readonly tid: number } | ActorReply;

/** The first line on the stdin of a process that a script starts. */
export interface ForkData extends ThreadData {
  /** Whose fds it gets; whose memory, limit and user, too, unless it is `fresh`. */
  readonly parentPid: number;
  readonly fresh: boolean;
  readonly holdings: Holdings;
}

/** The data for the next image after an exec, in a memfd. */
export interface Handover {
  /** The main actor goes on after step number `step`; a forked process waits for its next one. */
  readonly next: { readonly assignment: Assignment; readonly step: number } | { readonly fork: ThreadData };
  readonly state: SavedState;
}
