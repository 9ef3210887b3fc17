/**
 * devices/kit/loop.ts and control.ts: a device worker serves, works, halts and stops. No ring of
 * its bell is lost, and a halted device has no transaction under way.
 */
import assert from 'node:assert/strict';
import { CONTROL_BYTES, DeviceControl, HALTED, RUNNING } from '../../devices/kit/control.ts';
import { NEVER } from '../../devices/kit/device.ts';
import type { Dma } from '../../devices/kit/dma.ts';
import type { Endpoint } from '../../devices/kit/endpoint.ts';
import { DeviceLoop } from '../../devices/kit/loop.ts';
import { createPeerBox, PeerServer } from '../../iommu/bus/peer-cycles.ts';
import { createRegisterPages, RegisterPageServer } from '../../iommu/bus/register-pages.ts';
import { MAILBOX_BYTES, MailboxClient } from '../../platform/mailbox.ts';
import { createSpinners, Spinners } from '../../platform/spinners.ts';
import { defineScenario } from './scenario.ts';

const memory = () => ({
  mailbox: new SharedArrayBuffer(MAILBOX_BYTES),
  control: new SharedArrayBuffer(CONTROL_BYTES),
  board: new SharedArrayBuffer(64),
});
type Words = ReturnType<typeof memory>;

/**
 * Words of `board`: the state last announced; 1 when the requester has its answer; 1 while the
 * board counts on the halt; 1 in a transaction.
 */
const ANNOUNCED = 0;
const ANSWERED = 1;
const QUIET = 2;
const BUSY = 3;

function announce({ board }: Words, word: number, value: number): void {
  Atomics.store(new Int32Array(board), word, value);
  Atomics.notify(new Int32Array(board), word);
}

function awaitWord({ board }: Words, word: number, value: number): void {
  const words = new Int32Array(board);
  for (let now = Atomics.load(words, word); now !== value; now = Atomics.load(words, word))
    Atomics.wait(words, word, now);
}

export const haltAndStop = defineScenario({
  file: import.meta.url,
  name: 'halt-and-stop',
  memory,
  names: (buffer, word) =>
    buffer === 'board'
      ? ['announced', 'answered', 'quiet'][word]
      : buffer === 'mailbox' && word < 32
        ? { 0: 'bell', 16: 'freed' }[word]
        : { 0: 'stop', 1: 'halt', 16: 'state' }[buffer === 'control' ? word : -1],
  actors: {
    board: (words, context) => {
      const control = new DeviceControl(words.control);
      const side = new Int32Array(words.board);
      control.requestHalt(words.mailbox, true);
      awaitWord(words, ANNOUNCED, HALTED);
      context.effect('the board begins a snapshot', () => {
        assert.equal(side[BUSY], 0, 'a transaction is under way in a halted device');
        side[QUIET] = 1;
      });
      context.effect('the board has taken it', () => {
        side[QUIET] = 0;
      });
      control.requestHalt(words.mailbox, false);
      awaitWord(words, ANNOUNCED, RUNNING);
      awaitWord(words, ANSWERED, 1);
      control.requestStop(words.mailbox);
    },
    cpu: (words) => {
      assert.equal(new MailboxClient(words.mailbox).read(0, 8, 4).lo, 9);
      announce(words, ANSWERED, 1);
    },
    device: (words, context) => {
      const side = new Int32Array(words.board);
      const endpoint = {
        read: (_region: number, offset: number) => ({ lo: offset + 1, hi: 0 }),
        run: () => {
          context.effect('a transaction begins', () => {
            assert.equal(side[QUIET], 0, 'the device works while it is halted');
            side[BUSY] = 1;
          });
          return NEVER;
        },
      };
      const idle = (): void =>
        context.effect('no transaction is under way', () => {
          side[BUSY] = 0;
        });
      new DeviceLoop({
        pages: new RegisterPageServer(createRegisterPages(), new SharedArrayBuffer(0)),
        spinners: new Spinners(createSpinners()),
        endpoint: endpoint as unknown as Endpoint,
        mailbox: words.mailbox,
        peers: new PeerServer(createPeerBox(), []),
        control: new DeviceControl(words.control),
        dma: { idle } as unknown as Dma,
        clock: () => 0,
        pollMemory: () => undefined,
        announce: (state) => announce(words, ANNOUNCED, state),
      }).run();
    },
  },
});
