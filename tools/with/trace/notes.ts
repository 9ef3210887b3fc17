/** What is told of a trapped call, beyond its number and arguments. Its steps write it down. */
import type { Reply, Request } from '../../../iommu/abi/wire.ts';

export interface Notes {
  /** A path of ours. */
  path?: string;
  /** Requests to the kernel with their replies, but for what the program did not ask for. */
  readonly asked: { readonly request: Request; readonly reply: Reply }[];
}

/**
 * Adds a request. The supervisor's own are left out: a sync, and a check of a mapping on behalf of
 * another call.
 */
export function noteRequest({ asked }: Notes, request: Request, reply: Reply): void {
  if (request.op === 'sync' || (request.op === 'mmap' && asked.length > 0)) return;
  asked.push({ request, reply });
}
