/** What is told of a trapped call, beyond its number and arguments. Its steps write it down. */
import type { Reply, Request } from '../../../iommu/abi/wire.ts';

export interface Notes {
  /** A path of ours. */
  path?: string;
  /** Requests to the kernel with their replies, but for what the program did not ask for. */
  readonly asked: { readonly request: Request; readonly reply: Reply }[];
}
