import { describe, expect, it } from 'vitest';

import { createVmShared } from '../../../vmm/crew/vm-shared.ts';
import { ConsoleInput } from '../../../vmm/machine/shared/console-input.ts';
import { Console } from '../../../vmm/vm/console.ts';

describe('the console of a new image', () => {
  it('has its input in the ring before it is opened: the guest may have seen that there is a byte', () => {
    const shared = createVmShared(1);
    const console = new Console(shared, { ofTerminal: true });

    console.restore({ input: Uint8Array.of(1, 2, 3) });

    expect([...new ConsoleInput(shared.input).peek()]).toEqual([1, 2, 3]);
  });

  it('keeps what the ring has no room for, and does not touch stdin for it', () => {
    const shared = createVmShared(1);
    const console = new Console(shared, { ofTerminal: true });
    const input = Uint8Array.from({ length: 5000 }, (_, i) => i);

    console.restore({ input });
    console.refill(); // the vCPU has made room
    expect(console.save().input).toEqual(Buffer.from(input));
  });
});
