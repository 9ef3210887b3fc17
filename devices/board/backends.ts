/**
 * The backends of a board's devices, as the user has named them: `netdev=ID`, `chardev=ID` and
 * `fsdev=ID` of a device lead to the options with this id. Errors are EINVAL with one line for the
 * user.
 */
import { einval } from '../../platform/errno.ts';
import { Backends } from '../backends/backends.ts';
import { parseChardev } from '../backends/chardev-option.ts';
import { parseFsdev } from '../backends/fsdev-option.ts';
import { defaultMac, macText, parseNetdev } from '../backends/netdev-option.ts';
import type { BackendKind } from '../kit/device.ts';
import { modelOf } from './device-types.ts';

export interface BackendOptions {
  /** Values of `-netdev` (backends/netdev-option.ts). */
  readonly netdevs?: readonly string[] | undefined;
  /** Values of `-chardev` (backends/chardev-option.ts). */
  readonly chardevs?: readonly string[] | undefined;
  /** Values of `-fsdev` (backends/fsdev-option.ts). */
  readonly fsdevs?: readonly string[] | undefined;
}

interface Backend {
  readonly id: string;
  /** The whole option. */
  readonly text: string;
}

type Properties = Readonly<Record<string, string>>;

export class BoardBackends {
  readonly #all: Readonly<Record<BackendKind, Backends<Backend>>>;
  /** Network devices without an address of their own. */
  #macs = 0;

  constructor({ netdevs = [], chardevs = [], fsdevs = [] }: BackendOptions) {
    this.#all = {
      netdev: named('netdev', netdevs, parseNetdev),
      chardev: named('chardev', chardevs, parseChardev),
      fsdev: named('fsdev', fsdevs, parseFsdev),
    };
  }

  /** The option behind a device, and the properties that it is left with. */
  takeFor(type: string, properties: Properties): { readonly backend?: string; readonly properties: Properties } {
    const { backend: kind } = modelOf(type).type;
    if (kind === undefined) return { properties };
    const { [kind]: id, ...others } = properties;
    if (id === undefined) throw einval(`${type}: give ${kind}=ID`);
    const { text } = this.#all[kind].claim(id, (reason) => einval(`${type}: ${reason}`));
    if (kind !== 'netdev' || Object.hasOwn(others, 'mac')) return { backend: text, properties: others };
    return { backend: text, properties: { ...others, mac: macText(defaultMac(this.#macs++)) } };
  }

  /** All must have been taken. */
  end(): void {
    this.#all.netdev.end('virtio-net');
    this.#all.chardev.end('virtio-console');
    this.#all.fsdev.end('virtio-9p');
  }
}

const named = (kind: BackendKind, texts: readonly string[], parse: (text: string) => { readonly id: string }) =>
  new Backends(
    kind,
    texts.map((text) => ({ id: parse(text).id, text })),
  );
