/**
 * Parser of `--device type,key=value,…` in QEMU's notation: the type comes first, and a comma
 * inside a value is doubled.
 */
import { UsageError } from './command.ts';

export interface DeviceOption {
  readonly type: string;
  readonly properties: Readonly<Record<string, string>>;
}

/** Splits at single commas; `,,` is a comma of the text (QEMU util/keyval.c, "value escapes"). */
function splitCommas(text: string): string[] {
  const commaOfTheText = '\0'; // no argument can hold a NUL
  return text
    .replaceAll(',,', commaOfTheText)
    .split(',')
    .map((part) => part.replaceAll(commaOfTheText, ','));
}

const NAME = /^[a-z][a-z0-9-]*$/;
const KEY = /^[a-z][a-z0-9_-]*$/;

/**
 * Type and properties of a --device option. The board (or the VMM) decides which types and
 * properties exist.
 */
export function parseDeviceOption(text: string): DeviceOption {
  const { first: type, properties } = parseKeyval('--device', text, 'type');
  return { type, properties };
}

/**
 * The subject of a request for help: all types (`help`), or one type with its properties
 * (`edu,help`).
 */
export type HelpRequest = 'all' | DeviceOption;

/**
 * The help that an option asks for; undefined for an option that asks for a device. UsageError as
 * for parseDeviceOption.
 */
export function helpRequest(text: string): HelpRequest | undefined {
  const [first, ...words] = splitCommas(text);
  if (first === 'help' && words.length === 0) return 'all';
  const others = words.filter((word) => word !== 'help');
  if (others.length === words.length) return undefined;
  return parseDeviceOption([first, ...others].map((word) => word!.replaceAll(',', ',,')).join(','));
}

/** Parses `first,key=value,…`, the value of `option`. `what` names the first word in messages. */
export function parseKeyval(
  option: string,
  text: string,
  what: string,
): { readonly first: string; readonly properties: Readonly<Record<string, string>> } {
  const [first = '', ...words] = splitCommas(text);
  if (!NAME.test(first)) throw new UsageError(`${option} '${text}': expected ${what}[,key=value]…`);
  const properties: Record<string, string> = {};
  for (const word of words) {
    const equals = word.indexOf('=');
    const key = word.slice(0, equals);
    if (equals < 0 || !KEY.test(key)) throw new UsageError(`${option} ${first}: '${word}' is not key=value`);
    if (Object.hasOwn(properties, key)) throw new UsageError(`${option} ${first}: ${key} is given twice`);
    properties[key] = word.slice(equals + 1);
  }
  return { first, properties };
}

const BDF = /^(?:([0-9a-f]{1,4}):)?([0-9a-f]{1,2}):([0-9a-f]{1,2})\.([0-7])$/i;

/**
 * The full form of a PCI address, e.g. `0000:00:02.0`. Users write `[domain:]bus:slot.function`.
 * Undefined if `text` is no address.
 */
export function fullBdf(text: string): string | undefined {
  const match = BDF.exec(text);
  if (!match) return undefined;
  const [, domain = '0', bus, slot, fn] = match;
  if (Number.parseInt(slot!, 16) > 31) return undefined;
  const pad = (digits: string, width: number) => digits.toLowerCase().padStart(width, '0');
  return `${pad(domain, 4)}:${pad(bus!, 2)}:${pad(slot!, 2)}.${fn}`;
}

/**
 * The host address of `vfio-pci,host=BDF`; UsageError for any other property or a malformed
 * address.
 */
export function passthroughBdf({ properties }: DeviceOption): string {
  const { host, ...others } = properties;
  const unknown = Object.keys(others)[0];
  if (unknown !== undefined) throw new UsageError(`--device vfio-pci: no property '${unknown}'`);
  if (host === undefined) throw new UsageError('--device vfio-pci: give host=BDF');
  const bdf = fullBdf(host);
  if (bdf === undefined)
    throw new UsageError(`--device vfio-pci: host='${host}' is not a PCI address like 0000:00:02.0`);
  return bdf;
}
