/**
 * An entry's info, the second word of its eight bytes: how often it came back, how often of these it had failed (both saturate),
 * TRANSIENT_BODY (see bodies.ts), why the queue has given it up (the number of a DeathReason, 0 when it has not), and
 * HELD: it is out of sight for a reason kept elsewhere, which a restart forgets.
 */
export const RETURNS_MAX = 0xffff;
const FAILURES_SHIFT = 16;
const FAILURES_MAX = 0xff;
const FAILURE: number = 1 << FAILURES_SHIFT;
const FAILURES_MASK: number = FAILURES_MAX << FAILURES_SHIFT;
export const GIVEN_UP_SHIFT = 25;
export const GIVEN_UP_MASK: number = 7 << GIVEN_UP_SHIFT;
export const HELD: number = 1 << 28;
/** It stands in the list of the consumer it waits for (share.ts): ready, and forgotten by a restart too. */
export const PARKED: number = 1 << 29;
export const FORGOTTEN: number = HELD | PARKED;
/** A newer message has taken its place: it does not come back. */
export const SUPERSEDED: number = 1 << 30;
/** Delivery passes over the entry. */
export const OUT_OF_SIGHT: number = GIVEN_UP_MASK | HELD;

/** The info of an entry that came back once more. @param failed which counts as a failure */
export function cameBack(info: number, failed: boolean): number {
  const before = info & ~FORGOTTEN;
  const back = (before & RETURNS_MAX) === RETURNS_MAX ? before : before + 1;
  return failed && (back & FAILURES_MASK) !== FAILURES_MASK ? back + FAILURE : back;
}

export function failuresOf(info: number): number {
  return (info >> FAILURES_SHIFT) & FAILURES_MAX;
}

/** Why the message of an entry was given up: a code of `reasonOf`; 0 = it was not. */
export function givenUpFor(info: number): number {
  return (info & GIVEN_UP_MASK) >> GIVEN_UP_SHIFT;
}
