/**
 * Decides to which of vitest's projects a test file belongs. There is no list of files: a test is a
 * process test if it names something that starts a process or a thread, or uses a file of test/
 * that does. All the same, test/no-process.ts keeps unit tests from starting one. A unit test that
 * replaces a module (vi.mock) is a mocked one: it shares no modules with other files.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { importsOf } from './imports.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

export const PROJECTS = ['unit', 'mocked', 'process', 'explore', 'conformance'] as const;
export type Project = (typeof PROJECTS)[number];

/** What starts a process or a thread; a name that ends with / means every file of that folder. */
export const STARTERS = [
  'node:child_process',
  'platform/thread.ts',
  'platform/ram-hash.ts',
  'test/explore/bundle.ts', // esbuild's
  'devices/board/board.ts',
  'devices/board/device-thread.ts',
  'devices/board/host.ts',
  'devices/board/memory-hash.ts',
  'iommu/kernel/entry/object-files.ts', // a thread that waits for closes
  'iommu/kernel/vfio/pci/device.ts', // a thread for the eventfds that a client arms
  'iommu/kernel/vfio/virqfd/virqfd.ts',
  'tools/launch/compiler.ts',
  'tools/debian/linux.ts',
  'tools/debian/own-apt.ts',
  'tools/demo/qemu/command.ts',
  'tools/launch/child.ts',
  'tools/launch/host.ts',
  'tools/launch/machine.ts',
  'vmm/crew/threads.ts',
];

function startsSomething(path: string, seen = new Set<string>()): boolean {
  seen.add(path);
  const targets = importsOf(path, readFileSync(join(root, path), 'utf8'))
    .filter(({ typeOnly }) => !typeOnly)
    .map(({ target }) => target);
  const ours = targets.filter((target) => target.startsWith('test/') && !seen.has(target));
  return (
    targets.some((target) => STARTERS.includes(target)) ||
    ours.some((target) => existsSync(join(root, target)) && startsSomething(target, seen))
  );
}

/** Of a test file, named from the root. */
export function projectOf(path: string): Project {
  if (path.startsWith('test/explore/')) return 'explore';
  if (path.startsWith('test/conformance/')) return 'conformance';
  if (startsSomething(path)) return 'process';
  return readFileSync(join(root, path), 'utf8').includes('vi.mock(') ? 'mocked' : 'unit';
}

/** Every test file, from the root. */
export const testFiles: readonly string[] = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.test.ts'))
  .map((name) => `test/${name}`)
  .toSorted();
