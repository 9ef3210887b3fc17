/** What the fault handler says when it traces the program. */
export const FAULT_HANDLER_READY = 'ready\n';
