/** Memory as a thread sees it. Errors of an access are thrown. */
export interface Bus {
  load(vaddr: bigint, width: number): Uint8Array;
  store(vaddr: bigint, bytes: Uint8Array): void;
}
