/**
 * `key=value,key=value`, as QEMU's options have them. Errors are EINVAL with one line for the user.
 */
import { einval } from '../../platform/errno.ts';

export class Properties {
  /** What stands before the first comma, if that has no value. */
  readonly type: string;
  readonly #option: string;
  readonly #text: string;
  readonly #values = new Map<string, string[]>();

  /** `option` with the value `text`; `typed`: it begins with a word of its own. */
  constructor(option: string, text: string, { typed }: { readonly typed: boolean }) {
    this.#option = option;
    this.#text = text;
    const parts = text.split(/,(?!,)(?<!,,)/); // a comma in a value is doubled
    this.type = typed ? (parts.shift() ?? '') : '';
    for (const part of parts) {
      if (part === '') continue;
      const at = part.indexOf('=');
      if (at < 0) throw this.error(`'${part}' has no value`);
      const value = part.slice(at + 1).replaceAll(',,', ',');
      const name = part.slice(0, at);
      this.#values.set(name, [...(this.#values.get(name) ?? []), value]);
    }
  }

  error(reason: string): Error {
    return einval(`${this.#option} ${this.#text}: ${reason}`);
  }

  /** The value, which nobody takes again; of several the last one, as in QEMU. */
  take(name: string): string | undefined {
    return this.takeAll(name).at(-1);
  }

  /** All values of a name that may be there several times. */
  takeAll(name: string): readonly string[] {
    const values = this.#values.get(name) ?? [];
    this.#values.delete(name);
    return values;
  }

  /** As take; `example` says what to give. */
  need(name: string, example: string): string {
    const value = this.take(name);
    if (!value) throw this.error(`give ${name}=${example}`);
    return value;
  }

  oneOf<T extends string>(name: string, choices: readonly T[], otherwise: T): T {
    return this.choice(name, choices) ?? otherwise;
  }

  /** Undefined: it is not given. */
  choice<T extends string>(name: string, choices: readonly T[]): T | undefined {
    const text = this.take(name);
    if (text === undefined) return undefined;
    const choice = choices.find((each) => each === text);
    if (choice === undefined)
      throw this.error(
        `${name}=${text} is not known; there ${choices.length > 1 ? 'are' : 'is'} ${choices.join(', ')}`,
      );
    return choice;
  }

  isOn(name: string, otherwise: boolean): boolean {
    return this.oneOf(name, ['on', 'off'], otherwise ? 'on' : 'off') === 'on';
  }

  /** Everything has been taken, or the rest is refused. */
  end(): void {
    for (const name of this.#values.keys()) throw this.error(`'${name}' is not known`);
  }
}
