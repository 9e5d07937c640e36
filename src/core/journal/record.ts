/**
 * A record: one effect in the log. Little endian, as everything on disk.
 *
 *      0         4      5
 *     +---------+------+-- ... --+
 *     | length  | type | payload |      length = bytes of the payload
 *     +---------+------+-- ... --+
 *
 * Types 1 to 15 belong to the journal, 16 to 255 to the core. Records lie one after the other in a batch and never span two.
 */

/** Bytes before a record's payload. */
export const RECORD_HEADER_BYTES = 5;

/**
 * First record of every process that opened the log: payload = u32 epoch, f64 wall-clock milliseconds. The only record
 * with which the epoch of the batches may rise.
 */
export const RECORD_OPEN = 1;
export const OPEN_PAYLOAD_BYTES = 12;
/** Lowest type of a record of the core. */
export const RECORD_CORE_MIN = 16;

/** Called for each record of a batch; `bytes[start, end)` is the payload. */
export type RecordVisitor = (type: number, bytes: Buffer, start: number, end: number) => void;

/** Visit the records in `bytes[start, end)` and answer how many there are, or -1 when they do not fill it exactly. */
export function eachRecord(bytes: Buffer, start: number, end: number, visit: RecordVisitor): number {
  let count = 0;
  while (start < end) {
    const payload = start + RECORD_HEADER_BYTES;
    if (payload > end) return -1;
    const after = payload + readU32(bytes, start);
    if (after > end) return -1;
    visit(bytes[start + 4]!, bytes, payload, after);
    start = after;
    count++;
  }
  return count;
}

/** As `readUInt32LE`, without its bounds check: the caller has done that. */
function readU32(bytes: Buffer, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}
