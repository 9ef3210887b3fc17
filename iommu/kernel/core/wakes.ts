/**
 * Wake-ups of calls that sleep. A woken call goes on when the thread has nothing else to do
 * (microtasks), so a loop that keeps the thread must look here, and end.
 */
let count = 0;

/** A sleeping call was woken. */
export function countWake(): void {
  count++;
}

/** How often calls were woken. */
export const wakes = (): number => count;
