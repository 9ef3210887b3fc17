/**
 * The keys by which a user speaks to the VMM itself on a raw terminal, as in QEMU: Ctrl-a, then x
 * to end the VM, h for help, Ctrl-a for a Ctrl-a. Any other key after Ctrl-a is dropped.
 */
const CTRL_A = 0x01;

export type EscapeKey = 'quit' | 'help';

export class Escape {
  /** Ctrl-a was typed, and the next key says what it means. */
  pending = false;

  /** What of the input is for the guest, and the keys that are for us. */
  take(input: Uint8Array): { readonly guest: Uint8Array; readonly keys: readonly EscapeKey[] } {
    const guest: number[] = [];
    const keys: EscapeKey[] = [];
    for (const byte of input) {
      if (!this.pending) {
        if (byte === CTRL_A) this.pending = true;
        else guest.push(byte);
        continue;
      }
      this.pending = false;
      if (byte === CTRL_A) guest.push(byte);
      else if (byte === 0x78) keys.push('quit');
      else if (byte === 0x68 || byte === 0x3f) keys.push('help');
    }
    return { guest: Uint8Array.from(guest), keys };
  }
}
