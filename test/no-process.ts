/**
 * Setup file of the unit tests. When a unit test starts a process or a thread, the error says in
 * which project the test belongs.
 */
import child from 'node:child_process';
import { syncBuiltinESMExports } from 'node:module';
import threads from 'node:worker_threads';

function refuse(): never {
  throw new Error('a unit test starts no process and no thread: name what does in STARTERS of test/projects.ts');
}

const STARTS = ['spawn', 'spawnSync', 'exec', 'execSync', 'execFile', 'execFileSync', 'fork'] as const;
for (const name of STARTS) child[name] = refuse as never;
threads.Worker = refuse as never;
syncBuiltinESMExports();
