/** What of the monitor survives: its sockets stay open, its clients notice nothing. */

export interface ConnectionState {
  readonly fd: number;
  /** Capabilities negotiation is complete. */
  readonly negotiated: boolean;
  /** What was received and not executed, a half line included. */
  readonly pending: Uint8Array;
}

export interface MonitorState {
  readonly version: 1;
  /** null: this VMM has no monitor. */
  readonly socket: { readonly path: string; readonly fd: number } | null;
  readonly connections: readonly ConnectionState[];
}

export const NO_MONITOR: MonitorState = { version: 1, socket: null, connections: [] };
