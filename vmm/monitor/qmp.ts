/**
 * The QEMU Machine Protocol's messages (QEMU docs/interop/qmp-spec), worded and spaced as QEMU 7.2
 * prints them.
 */

import { type ClientJson, type ClientObject, JsonNumber } from './json.ts';
import { QmpError } from './qmp-error.ts';

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };
export type JsonObject = Readonly<Record<string, Json>>;

/** One line as QEMU's JSON writer prints it: a space after colons and commas, ASCII only, CRLF. */
export const formatLine = (message: Message): string => `${format(message)}\r\n`;

/** Formats a value by recursion: our own nesting is small, a client's is 1024 at most. */
function format(value: Json | ClientJson | Message): string {
  if (typeof value === 'string') return quote(value);
  if (value instanceof JsonNumber) return value.text;
  if (Array.isArray(value)) return `[${value.map(format).join(', ')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const entries = value instanceof Map ? [...value] : Object.entries(value);
  return `{${entries.map(([key, member]) => `${quote(key)}: ${format(member)}`).join(', ')}}`;
}

const quote = (text: string): string =>
  JSON.stringify(text).replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);

export interface Command {
  readonly execute: string;
  readonly arguments: ClientObject;
}

/** Reads a client's value as a command. QmpError in QEMU's words. */
export function readCommand(value: ClientJson): Command {
  if (!isObject(value)) throw new QmpError('QMP input must be a JSON object');
  const execute = value.get('execute');
  const args = value.get('arguments') ?? new Map();
  const other = [...value.keys()].find((key) => !['execute', 'arguments', 'id'].includes(key));
  if (other !== undefined) throw new QmpError(`QMP input member '${other}' is unexpected`);
  if (execute === undefined) throw new QmpError("QMP input lacks member 'execute'");
  if (typeof execute !== 'string') throw new QmpError("QMP input member 'execute' must be a string");
  if (!isObject(args)) throw new QmpError("QMP input member 'arguments' must be an object");
  return { execute, arguments: args };
}

/**
 * The `id` that a client wants echoed in the answer, also in the answer to a value that is no
 * command.
 */
export const idOf = (value: ClientJson): ClientJson | undefined => (isObject(value) ? value.get('id') : undefined);

const isObject = (value: ClientJson): value is ClientObject => value instanceof Map;

/** A message for a client. */
export type Message = Readonly<Record<string, Json | ClientJson>>;

export const success = (result: Json, id: ClientJson | undefined): Message =>
  id === undefined ? { return: result } : { return: result, id };

export function failure(error: QmpError, id: ClientJson | undefined): Message {
  const body = { error: { class: error.class, desc: error.message } };
  return id === undefined ? body : { id, ...body };
}

/** An event that happens now. */
export function eventMessage(event: string, data: JsonObject | undefined): JsonObject {
  const now = performance.timeOrigin + performance.now();
  const seconds = Math.floor(now / 1000);
  const timestamp = { seconds, microseconds: Math.floor((now - seconds * 1000) * 1000) };
  return data === undefined ? { timestamp, event } : { timestamp, event, data };
}
