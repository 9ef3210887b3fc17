/**
 * Makes a snapshot of snapshot.ts, the bundle beside this one: `node --snapshot-blob FILE
 * --build-snapshot vmm-build-snapshot.cjs`; or of start-snapshot.ts, with `vmm-start.cjs` as one
 * more word. Compiled in it are the functions that such a VMM has called until its guest had
 * threads: the build has recorded them (tools/record-calls). With all
 * functions compiled, the snapshot would take longer to load than those few take to compile; with
 * none, the pause would compile them. Where nothing is recorded, for this node or of this program,
 * functions are compiled when they are first called.
 */
import { fileURLToPath } from 'node:url';

import { type Program, snapshotProgram } from '../../platform/code-cache.ts';

const name = process.argv[2] ?? 'vmm-snapshot.cjs';
const path = fileURLToPath(new URL(`./${name}`, import.meta.url));
const bundle = snapshotProgram(path);
const program = bundle.script(bundle.kept()).runInThisContext() as Program;
const module = {} as NodeJS.Module; // a snapshot's main script is none, and the program exports nothing
program(require, module, path); // `require` is the one that only such a script has
