/** `vmm --preflight FD`: says whether it could take over the guest whose manifest is in FD. */
export const PREFLIGHT = '--preflight';
