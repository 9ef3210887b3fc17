/** The part of the monitor that survives: its sockets stay open, its clients notice nothing. */
import { fd } from '../../platform/fd-shape.ts';
import { defineSection, type StateOf } from '../../platform/section.ts';
import { bytes, flag, list, nullable, object, text } from '../../platform/shape.ts';

export const MONITOR_SECTION = defineSection('monitor', 1, {
  /** null: this VMM has no monitor. */
  socket: nullable(object({ path: text, fd })),
  connections: list(
    object({
      fd,
      /** Capabilities negotiation is complete. */
      negotiated: flag,
      /** Input that was received and not executed, a half line included. */
      pending: bytes,
    }),
  ),
});

export type MonitorState = StateOf<typeof MONITOR_SECTION>;
export type ConnectionState = MonitorState['connections'][number];

export const NO_MONITOR: MonitorState = { version: 1, socket: null, connections: [] };
