/**
 * The monitor's commands. A command that QEMU has is answered as QEMU answers it; x- commands and
 * live-update are ours.
 */
import { hex } from '../../platform/hex.ts';
import type { LiveUpdate, UpdateTarget } from '../live-update/update.ts';
import { versionInfo } from '../monitor/monitor.ts';
import type { Command, Json, JsonObject } from '../monitor/qmp.ts';
import { QmpError } from '../monitor/qmp-error.ts';
import { hashGuestRam } from '../vm/ram-hash/thread.ts';
import type { Vm } from '../vm/vm.ts';

interface Arguments {
  readonly strings: Readonly<Record<string, string>>;
  readonly lists: Readonly<Record<string, readonly string[]>>;
}

interface CommandSpec {
  /** Names of optional arguments: strings, and lists of strings. There are no others. */
  readonly strings?: readonly string[];
  readonly lists?: readonly string[];
  readonly run: (args: Arguments) => Json | Promise<Json>;
}

/** The arguments of `live-update` and `query-live-update`. */
const TARGET = { strings: ['to', 'node'], lists: ['allow-loss'] };

const targetOf = ({ strings, lists }: Arguments): UpdateTarget => ({
  ...strings,
  allowLoss: lists['allow-loss'] ?? [],
});

export class Commands {
  readonly #vm: Vm;
  readonly #update: LiveUpdate;
  readonly #emit: (event: string) => void;

  constructor(vm: Vm, update: LiveUpdate, emit: (event: string) => void) {
    this.#vm = vm;
    this.#update = update;
    this.#emit = emit;
  }

  readonly #specs: Readonly<Record<string, CommandSpec>> = {
    qmp_capabilities: { run: () => ({}) }, // answered by the connection; listed here
    'query-commands': { run: () => Object.keys(this.#specs).map((name) => ({ name })) },
    'query-version': { run: () => versionInfo() },
    'query-status': { run: () => ({ status: this.#vm.runState, running: this.#vm.runState === 'running' }) },
    stop: { run: () => this.#vm.pause().then(nothing) },
    cont: { run: () => this.#vm.resume().then(nothing) },
    system_reset: { run: () => this.#vm.systemReset().then(nothing) },
    system_powerdown: { run: () => this.#powerdown() },
    quit: { run: () => this.#quit() },
    'live-update': { ...TARGET, run: (args) => this.#startUpdate(targetOf(args)) },
    'query-live-update': { ...TARGET, run: (args) => this.#update.query(targetOf(args)) },
    'x-ram-hash': { run: () => this.#ramHash() },
    'x-interrupts': { run: () => ({ devices: this.#interrupts() }) },
    'x-stats': { run: () => this.#stats() },
  };

  async execute({ execute, arguments: args }: Command): Promise<Json> {
    const spec = Object.hasOwn(this.#specs, execute) ? this.#specs[execute] : undefined;
    if (!spec) throw new QmpError(`The command ${execute} has not been found`, 'CommandNotFound');
    return spec.run(readArguments(args, spec));
  }

  /**
   * The `virt` machine has no power button that this guest could see, so this only emits the event.
   */
  #powerdown(): Json {
    this.#emit('POWERDOWN');
    return {};
  }

  #quit(): Json {
    setImmediate(() => this.#vm.shutdown(0, 'host-qmp-quit')); // after the answer
    return {};
  }

  /** Answers when the update may begin. LIVE_UPDATE events tell how it ends. */
  #startUpdate(target: UpdateTarget): Json {
    const run = this.#update.begin(target);
    setImmediate(() => void run()); // after the answer
    return {};
  }

  async #ramHash(): Promise<Json> {
    const { buffer, length } = this.#vm.parts.ram;
    return { size: length, sha256: await hashGuestRam({ buffer, length }) };
  }

  /** Interrupts taken from each device's eventfds since power-on. */
  #interrupts(): JsonObject[] {
    const routes = this.#vm.routes.save();
    return (this.#vm.parts.host?.devices ?? []).map(({ description: { bdf } }, i) => {
      const own = routes.filter(({ slot }) => slot === i + 1);
      return { bdf, delivered: own.reduce((sum, { delivered }) => sum + delivered, 0) };
    });
  }

  #stats(): Json {
    const { generation, ram } = this.#vm.parts;
    const { instructions, exits } = this.#vm.counters();
    return { generation, pid: process.pid, vaddr: hex(ram.vaddr), vcpus: [{ instructions, exits }] };
  }
}

const nothing = (): Json => ({});

function readArguments(args: Command['arguments'], spec: CommandSpec): Arguments {
  const strings: Record<string, string> = {};
  const lists: Record<string, string[]> = {};
  for (const [name, value] of args) {
    if (spec.strings?.includes(name)) strings[name] = asString(name, value);
    else if (spec.lists?.includes(name)) lists[name] = asStrings(name, value);
    else throw new QmpError(`Parameter '${name}' is unexpected`);
  }
  return { strings, lists };
}

function asString(name: string, value: unknown): string {
  if (typeof value !== 'string') throw new QmpError(`Invalid parameter type for '${name}', expected: string`);
  return value;
}

function asStrings(name: string, value: unknown): string[] {
  if (!Array.isArray(value)) throw new QmpError(`Invalid parameter type for '${name}', expected: array`);
  return value.map((item, i) => asString(`${name}[${i}]`, item));
}
