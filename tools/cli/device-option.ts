/**
 * `--device type,key=value,…` as QEMU reads it: a comma inside a value is doubled, the type comes
 * first.
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

/**
 * Type and properties of a --device option. Which types and properties exist is the board's (or the
 * VMM's) to say.
 */
export function parseDeviceOption(text: string): DeviceOption {
  const { first: type, properties } = parseKeyval('--device', text, 'type');
  return { type, properties };
}

/**
 * What a --device option asks to be told of: all types (`help`), or one (`edu,help`) as its
 * properties make it.
 */
export type HelpRequest = 'all' | DeviceOption;

/**
 * Undefined for an option that asks for a device and not for help. UsageError as parseDeviceOption.
 */
export function helpRequest(text: string): HelpRequest | undefined {
  const [first, ...words] = splitCommas(text);
  if (first === 'help' && words.length === 0) return 'all';
  const others = words.filter((word) => word !== 'help');
  if (others.length === words.length) return undefined;
  return parseDeviceOption([first, ...others].map((word) => word!.replaceAll(',', ',,')).join(','));
}

/** `first,key=value,…` as the value of `option`; `what` the first word is. */
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
    if (equals < 0 || !NAME.test(key)) throw new UsageError(`${option} ${first}: '${word}' is not key=value`);
    if (Object.hasOwn(properties, key)) throw new UsageError(`${option} ${first}: ${key} is given twice`);
    properties[key] = word.slice(equals + 1);
  }
  return { first, properties };
}

const BDF = /^(?:([0-9a-f]{1,4}):)?([0-9a-f]{1,2}):([0-9a-f]{1,2})\.([0-7])$/i;

/**
 * A PCI address as users write it (`[domain:]bus:slot.function`) in full form, e.g. `0000:00:02.0`;
 * undefined if it is none.
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
