import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { device as capture } from '../../devices/capture/device.ts';
import { device as edu } from '../../devices/edu/device.ts';
import { device as mscribe } from '../../devices/mscribe/device.ts';
import { FakeVirtMachine, type PluggedDevice } from '../fakes/fake-virt-machine.ts';
import { VmmProcess } from '../vmm/vmm-process.ts';

const FOLDER = join(import.meta.dirname, '../../guest/programs');
const elf = (name: string) => readFileSync(join(FOLDER, `${name}.elf`));

/** What built the committed ELFs. */
const COMPILER = 'riscv64-unknown-elf-gcc';
const VERSION = '12.2.0';
const QEMU = 'qemu-system-riscv64';
const compilerVersion = spawnSync(COMPILER, ['-dumpfullversion'], { encoding: 'utf8' }).stdout?.trim();
const hasQemu = spawnSync(QEMU, ['--version']).status === 0;

const EDU: PluggedDevice = { type: edu, properties: { 'dma-latency-ms': '0', 'dma-mask': '0xffffffffffffffff' } };
const CAPTURE: PluggedDevice = { type: capture };
const MSCRIBE: PluggedDevice = { type: mscribe, properties: { 'job-ms': '1' } };

describe.runIf(compilerVersion === VERSION)(`built again by gcc ${VERSION}`, () => {
  let out: string;
  beforeAll(() => {
    out = mkdtempSync(join(tmpdir(), 'livevmm-programs-'));
    execFileSync('make', ['-s', `OUT=${out}`], { cwd: FOLDER });
  });
  afterAll(() => rmSync(out, { recursive: true }));

  it.each([
    'hello',
    'edu',
    'capture',
    'demo',
    'latency',
    'net',
    'speed',
    'peer',
    'smp',
    'semihosting',
    'fwcfg',
    'linux-frames',
    'intx',
    'guest-iommu',
    'messages',
    'timer',
    'dma-code',
  ])('%s.elf is the committed file, byte for byte', (name) => {
    expect(readFileSync(join(out, `${name}.elf`)).equals(elf(name))).toBe(true);
  });
});

describe('hello', () => {
  it('prints a line and powers off with status 0', () => {
    const machine = new FakeVirtMachine(elf('hello'), [], { ramSize: 1 << 20 }).runFor(100);
    expect([machine.output, machine.status]).toEqual(['hello from RV64\n', 0]);
  });
});

describe('latency', () => {
  it('measures a device by interrupts, and ends with status 0', () => {
    const machine = new FakeVirtMachine(elf('latency'), [EDU]).runFor(20_000);

    expect(machine.status).toBe(0);
    expect(machine.output).toMatch(
      /^(@latency (clock|read|read-asleep|write|write-asleep|msi-running|msi-sleeping|dma) \d+ \d+\n){8}$/,
    );
  });

  it('ends with status 2 without its device', () => {
    expect(new FakeVirtMachine(elf('latency'), [CAPTURE]).runFor(100).status).toBe(2);
  });
});

describe('edu', () => {
  it('gets factorials and DMA round trips from two devices, by interrupt', () => {
    const machine = new FakeVirtMachine(elf('edu'), [EDU, EDU]).runFor(1000);
    expect(machine.status).toBe(0);
    expect(machine.output).toMatch(
      /^(edu 00:[12]\.0: factorials \d\d+ ok 0 bad, dma round trips \d+ ok 0 bad, interrupts lost 0\n){2}$/,
    );
  });

  it('recovers from lost interrupts, of the factorial and of the DMA, and reports failure', () => {
    const machine = new FakeVirtMachine(elf('edu'), [EDU]);
    machine.controls[0]!.inject('drop-interrupt');
    machine.controls[0]!.inject('drop-interrupt');
    machine.runFor(5000);
    expect(machine.output).toContain('interrupts lost 1');
    expect(machine.status).toBe(1);
  });

  it('fails with status 2 when there is no device', () => {
    const machine = new FakeVirtMachine(elf('edu'), [CAPTURE]).runFor(100);
    expect([machine.output, machine.status]).toEqual(['edu: no device 1234:11e8 found\n', 2]);
  });
});

describe('dma-code', () => {
  it.each([false, true])(
    'runs the code that a device has stored, once it has executed FENCE.I; translated: %s',
    (translates) => {
      const machine = new FakeVirtMachine(elf('dma-code'), [EDU], { translates }).runFor(5000);
      expect([machine.output, machine.status]).toEqual(['@dma-code good 2048000 bad 0\n', 0]);
    },
  );
});

describe('timer', () => {
  it('is told how late its interrupts are', async ({ onTestFinished }) => {
    const vmm = new VmmProcess('timer'); // its functions are a thousand modules
    onTestFinished(async () => void (await vmm.end()));
    expect(await vmm.exited).toEqual([0, null]);
    expect(vmm.output).toMatch(/^@timer new \d+ \d+ \d+ \d+\n@timer known \d+ \d+ \d+ \d+\n@timer sum [0-9a-f]+\n$/);
  });
});

describe('capture', () => {
  it('checks 256 frames and more from each of two devices', () => {
    const machine = new FakeVirtMachine(elf('capture'), [CAPTURE, CAPTURE]).runFor(2000);
    expect(machine.output).toMatch(/^(capture 00:[12]\.0: frames 2\d\d checked 0 lost 0 corrupt\n){2}interrupts /);
    expect(machine.status).toBe(0);
  });

  it('finds the one frame that is corrupt', () => {
    const machine = new FakeVirtMachine(elf('capture'), [CAPTURE]);
    machine.controls[0]!.inject('corrupt-frame');
    machine.runFor(2000);
    expect(machine.output).toContain('0 lost 1 corrupt');
    expect(machine.status).toBe(1);
  });
});

describe('demo', () => {
  const started = (devices: readonly PluggedDevice[]) => new FakeVirtMachine(elf('demo'), devices).runFor(200);

  it('says what it has found and keeps everything busy', () => {
    const machine = started([EDU, CAPTURE, CAPTURE]);
    machine.type('s');
    machine.runFor(50);
    expect(machine.output.split('\n')[0]).toBe('demo: 1 edu, 2 capture, 0 mscribe: 00:1.0 00:2.0 00:3.0');
    const stats = machine.report('stats');
    expect(stats).toMatchObject({
      factorialsBad: 0,
      dmaRoundTripsBad: 0,
      framesLost: 0,
      framesCorrupt: 0,
      spurious: 0,
      interruptsLost: 0,
      captures: 2,
      edus: 1,
    });
    expect(stats.heartbeats).toBeGreaterThan(15);
    expect(stats.factorialsOk).toBeGreaterThan(50);
    expect(stats.dmaRoundTripsOk).toBeGreaterThan(50);
    expect(stats.framesChecked).toBeGreaterThan(90);
    expect(stats.interrupts).toBeGreaterThan(50);
  });

  it('leaves the CPU to others between the rounds of edu', () => {
    const machine = started([EDU]);
    machine.type('q');
    machine.runFor(100);
    const { heartbeats, factorialsOk, dmaRoundTripsOk } = machine.report('final');
    expect(factorialsOk! + dmaRoundTripsOk!).toBeLessThanOrEqual(17 * (heartbeats! + 1)); // its last turn begins one of each
  });

  it('has checked every frame written when it has stopped, and powers off with status 0', () => {
    const machine = started([EDU, CAPTURE, CAPTURE]);
    machine.type('q');
    machine.runFor(100);
    const final = machine.report('final');
    machine.type('s');
    machine.runFor(50);
    const later = machine.report('stats');
    machine.type('x');
    machine.runFor(50);
    expect(later.framesChecked).toBe(final.framesChecked);
    expect(later.factorialsOk).toBe(final.factorialsOk);
    expect(later.heartbeats).toBeGreaterThan(final.heartbeats!);
    expect(machine.status).toBe(0);
  });

  it('loses nothing in a pause of fifteen seconds', () => {
    const machine = started([CAPTURE, CAPTURE]).pauseFor(15000).runFor(300);
    machine.type('q');
    machine.runFor(100);
    expect(machine.report('final')).toMatchObject({ framesLost: 0, framesCorrupt: 0, interruptsLost: 0 });
    expect(machine.report('final').framesChecked).toBeGreaterThan(3000);
  });

  it('reports the frames a longer pause has cost, and fails', () => {
    const machine = started([CAPTURE]).pauseFor(24000).runFor(300);
    machine.type('q');
    machine.runFor(100);
    machine.type('x');
    machine.runFor(50);
    const { framesLost, framesCorrupt } = machine.report('final');
    expect(framesLost).toBeGreaterThan(900);
    expect(framesCorrupt).toBe(0);
    expect(machine.status).toBe(1);
  });

  it('has a copy engine copy and fill, and checks every job by its interrupt', () => {
    const machine = started([CAPTURE, MSCRIBE]);
    machine.type('q');
    machine.runFor(200);
    machine.type('x');
    machine.runFor(50);
    const final = machine.report('final');
    expect(final).toMatchObject({ mscribes: 1, mscribeBad: 0, spurious: 0, interruptsLost: 0 });
    expect(final.mscribeOk).toBeGreaterThan(100);
    expect(machine.status).toBe(0);
  });

  it('notices that a copy engine has ended all its jobs and no interrupt has come, and fails', () => {
    const machine = started([MSCRIBE]);
    // all 128 in the ring
    for (let i = 0; i < 130; i++) machine.controls[0]!.inject('drop-interrupt');
    machine.runFor(3500);
    machine.type('q');
    machine.runFor(300);
    machine.type('x');
    machine.runFor(50);
    expect([machine.report('final').interruptsLost, machine.status]).toEqual([1, 1]);
  });

  it('goes on when capture interrupts do not come, with the ticks alone', () => {
    const machine = new FakeVirtMachine(elf('demo'), [CAPTURE]);
    for (let i = 0; i < 100; i++) machine.controls[0]!.inject('drop-interrupt');
    machine.runFor(1000);
    machine.type('q');
    machine.runFor(100);
    expect(machine.report('final')).toMatchObject({ interrupts: 0, framesLost: 0, framesCorrupt: 0 });
    expect(machine.report('final').framesChecked).toBeGreaterThan(225);
  });

  it.each([
    ['a corrupt frame', 1, ['corrupt-frame'], 'framesCorrupt', 100],
    ['lost interrupts of edu', 0, ['drop-interrupt', 'drop-interrupt'], 'interruptsLost', 3300],
  ] as const)('powers off with status 1 after %s', (_, device, defects, field, ms) => {
    const machine = started([EDU, CAPTURE]);
    for (const defect of defects) machine.controls[device]!.inject(defect);
    machine.runFor(ms);
    machine.type('q');
    machine.runFor(100);
    machine.type('x');
    machine.runFor(50);
    expect([machine.report('final')[field], machine.status]).toEqual([1, 1]);
  });

  it('only has its heart beat when there are no devices', () => {
    const machine = new FakeVirtMachine(elf('demo')).runFor(200);
    machine.type('s');
    machine.runFor(50);
    expect(machine.report('stats')).toMatchObject({ captures: 0, edus: 0, interrupts: 0 });
    expect(machine.report('stats').heartbeats).toBeGreaterThan(15);
  });
});

describe.runIf(hasQemu)('on qemu-system-riscv64 -M virt', () => {
  const run = (name: string, ...options: string[]) =>
    spawnSync(
      QEMU,
      [
        '-M',
        'virt,aia=aplic-imsic',
        '-m',
        '64M',
        '-bios',
        'none',
        '-display',
        'none',
        '-serial',
        'stdio',
        '-monitor',
        'none',
      ].concat('-nodefaults', '-kernel', join(FOLDER, `${name}.elf`), options),
      { encoding: 'utf8', timeout: 30_000 },
    );

  it('hello prints what it prints here', () => {
    const { stdout, status } = run('hello');
    expect([stdout, status]).toEqual([new FakeVirtMachine(elf('hello')).runFor(100).output, 0]);
  });

  it('edu computes and transfers with the real device', () => {
    const { stdout, status } = run('edu', '-device', 'edu,dma_mask=0xffffffffffffffff');
    expect(stdout).toMatch(/^edu 00:1\.0: factorials \d+ ok 0 bad, dma round trips \d+ ok 0 bad, interrupts lost 0\n$/);
    expect(status).toBe(0);
  });
});
