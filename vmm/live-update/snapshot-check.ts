/** `vmm --check`, from a snapshot: says by its exit status whether it can be used here. */
export const CHECK = '--check';
