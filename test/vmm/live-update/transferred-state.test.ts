import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { createMemory } from '../../../platform/memory.ts';
import { packBodies, packSections } from '../../../platform/packed-sections.ts';
import type { Versioned } from '../../../platform/section.ts';
import { TaskChannel } from '../../../vmm/client/task-channel.ts';
import { buildVcpu } from '../../../vmm/crew/vcpu/start.ts';
import { decodeAll } from '../../../vmm/live-update/decoded-state.ts';
import { decodeState, type StateFile } from '../../../vmm/live-update/state-file.ts';
import { saveAll } from '../../../vmm/live-update/survivors.ts';
import { type Manner, StateAhead } from '../../../vmm/live-update/transferred-state.ts';
import { NO_UPDATE, UPDATE_SECTION } from '../../../vmm/live-update/update-state.ts';
import type { MachineState } from '../../../vmm/machine/machine.ts';
import { sectionsOfMachine } from '../../../vmm/machine/machine-sections.ts';
import { NO_MONITOR } from '../../../vmm/monitor/state.ts';
import { assemble } from '../../../vmm/vm/assemble.ts';
import { mapRam } from '../../../vmm/vm/guest-ram.ts';
import type { Vm } from '../../../vmm/vm/vm.ts';

const MEMORY = 4 << 20;
const AS_THEY_ARE: Manner = { form: {}, lost: [], hasOwner: false };
const FROM_MAIN = { monitor: NO_MONITOR, update: UPDATE_SECTION.of(NO_UPDATE) };

let vm: Vm;
let machine: MachineState;

beforeEach(() => {
  const fd = createMemory('transferred', MEMORY);
  const options = { memory: MEMORY, kernel: 'guest', devices: [], lifeline: 0, qmp: '/qmp' };
  vm = assemble({
    state: { options, entry: 0x8000_0000, generation: 3, paused: false },
    ram: { fd, mapping: mapRam(fd, MEMORY, 1) },
    backends: { disks: [], netdevs: [], folders: [], listeners: [] },
  });
  const { shared } = vm.parts.vcpu;
  machine = buildVcpu({ shared, parts: vm.machineParts, kernel: new TaskChannel(-1), tell: () => {} }).suspend().state;
});

afterEach(() => {
  vm.parts.vitals.release();
  vm.parts.ram.release();
});

const stopped = () => ({ state: () => machine, packed: packSections(packBodies(sectionsOfMachine(machine))) });

const namesIn = (file: Uint8Array): string[] => [...decodeState(file).sections.keys()].toSorted();

/** Both parts as one state. */
const together = (...files: readonly Uint8Array[]): StateFile => ({
  completeNs: 0,
  sections: new Map(files.flatMap((file) => [...decodeState(file).sections])),
});

const mapOf = (sections: Readonly<Record<string, Versioned>>): StateFile => ({
  completeNs: 0,
  sections: new Map(Object.entries(sections)),
});

/** What the survivors get; a clone has no Buffers. */
const statesOf = (file: StateFile): unknown => structuredClone(decodeAll(file).map(({ state }) => state));

describe('a state of which a part goes ahead', () => {
  it('is the whole state, when both parts are there', () => {
    const ahead = new StateAhead(vm, AS_THEY_ARE);
    const { file, all } = ahead.rest(stopped(), FROM_MAIN);
    const whole = saveAll({ vm, machine, ...FROM_MAIN });
    expect(all()).toEqual(whole);
    expect(statesOf(together(ahead.file, file))).toEqual(statesOf(mapOf(whole)));
  });

  it('has each section once: what has not changed since does not go again', () => {
    const ahead = new StateAhead(vm, AS_THEY_ARE);
    expect(namesIn(ahead.file)).toEqual(['imsic', 'ram', 'routes', 'vfio', 'vm']);
    const rest = namesIn(ahead.rest(stopped(), FROM_MAIN).file);
    expect(rest).toEqual(['clint', 'console', 'hart', 'monitor', 'pci', 'uart', 'update', 'vcpu']);
  });

  it('has a section again that has changed since', () => {
    const ahead = new StateAhead(vm, AS_THEY_ARE);
    vm.imsics[0]!.machine.setPending(5);
    const { file } = ahead.rest(stopped(), FROM_MAIN);
    expect(namesIn(file)).toContain('imsic');
    const imsic = together(ahead.file, file).sections.get('imsic');
    expect(structuredClone(imsic)).toEqual(structuredClone(vm.imsics[0]!.save()));
  });

  it('lacks what the new process does not know, and has the form that it wants', () => {
    const ahead = new StateAhead(vm, { ...AS_THEY_ARE, lost: ['routes', 'pci'], form: { update: 1 } });
    const { file } = ahead.rest(stopped(), FROM_MAIN);
    const { sections } = together(ahead.file, file);
    expect([sections.has('routes'), sections.has('pci'), sections.get('update')!.version]).toEqual([false, false, 1]);
  });

  it('names no fd of our owner for a process that has an owner itself', () => {
    const ours = new StateAhead(vm, AS_THEY_ARE);
    const others = new StateAhead(vm, { ...AS_THEY_ARE, hasOwner: true });
    expect(ours.fds).toHaveProperty(['vm.options.lifeline'], 0);
    expect(Object.keys(others.fds)).toEqual(['ram.fd']);
  });
});
