/** `vmm --preflight FD` says whether this VMM could take over the guest whose manifest is in FD. */
export const PREFLIGHT = '--preflight';
