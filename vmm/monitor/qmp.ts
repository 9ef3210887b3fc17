/** The QEMU Machine Protocol's messages (QEMU docs/interop/qmp-spec), worded and spaced as QEMU 7.2 prints them. */

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };
export type JsonObject = Readonly<Record<string, Json>>;

/** An error that a client is told. */
export class QmpError extends Error {
  readonly class: 'GenericError' | 'CommandNotFound';

  constructor(message: string, errorClass: 'GenericError' | 'CommandNotFound' = 'GenericError') {
    super(message);
    this.class = errorClass;
  }
}

/** One line as QEMU's JSON writer prints it: a space after colons and commas, ASCII only, CRLF. */
export const formatLine = (message: JsonObject): string => `${format(message)}\r\n`;

function format(value: Json): string {
  if (typeof value === 'string') return quote(value);
  if (Array.isArray(value)) return `[${value.map(format).join(', ')}]`;
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).map(([key, member]) => `${quote(key)}: ${format(member)}`);
    return `{${members.join(', ')}}`;
  }
  return JSON.stringify(value);
}

const quote = (text: string): string =>
  JSON.stringify(text).replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);

export interface Command {
  readonly execute: string;
  readonly arguments: JsonObject;
  /** Echoed in the answer. */
  readonly id?: Json;
}

/** A client's value as a command. QmpError in QEMU's words. */
export function parseCommand(text: string): Command {
  const value = parseJson(text);
  if (!isObject(value)) throw new QmpError('QMP input must be a JSON object');
  const { execute, arguments: args = {}, id, ...others } = value;
  const [other] = Object.keys(others);
  if (other !== undefined) throw new QmpError(`QMP input member '${other}' is unexpected`);
  if (execute === undefined) throw new QmpError("QMP input lacks member 'execute'");
  if (typeof execute !== 'string') throw new QmpError("QMP input member 'execute' must be a string");
  if (!isObject(args)) throw new QmpError("QMP input member 'arguments' must be an object");
  return { execute, arguments: args, ...(id === undefined ? {} : { id }) };
}

/** The id of a value that may be no valid command: errors echo it too. */
export function idOf(text: string): Json | undefined {
  try {
    const value = JSON.parse(text) as Json;
    return isObject(value) ? value.id : undefined;
  } catch {
    return undefined; // not JSON: there is no id
  }
}

function parseJson(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    const word = /^[a-z]+/i.exec(text);
    throw new QmpError(word ? `JSON parse error, invalid keyword '${word[0]}'` : 'Invalid JSON syntax');
  }
}

export const isObject = (value: Json): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export const success = (result: Json, id: Json | undefined): JsonObject =>
  id === undefined ? { return: result } : { return: result, id };

export function failure(error: QmpError, id: Json | undefined): JsonObject {
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
