// Development only: makes a .ts worker entry loadable where Node cannot strip types itself (Node 20
// under tsx or vitest).
import { workerData } from 'node:worker_threads';
import { register } from 'tsx/esm/api';

register();
await import(workerData.entry);
