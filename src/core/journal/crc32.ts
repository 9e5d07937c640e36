import * as zlib from 'node:zlib';

/** `zlib.crc32` came with Node 20.15; before that a table does the work, at a sixth of the speed. */
const native = (zlib as { crc32?: (bytes: Uint8Array, value?: number) => number }).crc32;

/** CRC-32 (IEEE 802.3) of some bytes, or of more bytes after those that gave `value`. */
export const crc32: (bytes: Uint8Array, value?: number) => number = native ?? crc32ByTable;

/** Calling zlib costs as much as this many bytes in JavaScript. */
const CALL_BYTES = 320;
/** Bytes taken at once: one table for each. */
const LANES = 8;

let table: Uint32Array | undefined;
let tables: Int32Array | undefined;

/** `crc32` of `bytes[start, end)`; made for short ranges, of which there are many. */
export function crc32Range(bytes: Uint8Array, start: number, end: number, value = 0): number {
  if (end - start > CALL_BYTES) return crc32(bytes.subarray(start, end), value);
  tables ??= makeTables();
  const rows = tables;
  let crc = ~value;
  let at = start;
  // The one for the last byte of eight comes first: a byte has the more to go the earlier it comes.
  for (; at + LANES <= end; at += LANES) {
    const low = crc ^ (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24));
    crc =
      rows[1792 + (low & 0xff)]! ^
      rows[1536 + ((low >>> 8) & 0xff)]! ^
      rows[1280 + ((low >>> 16) & 0xff)]! ^
      rows[1024 + (low >>> 24)]! ^
      rows[768 + bytes[at + 4]!]! ^
      rows[512 + bytes[at + 5]!]! ^
      rows[256 + bytes[at + 6]!]! ^
      rows[bytes[at + 7]!]!;
  }
  for (; at < end; at++) crc = (crc >>> 8) ^ rows[(crc ^ bytes[at]!) & 0xff]!;
  return ~crc >>> 0;
}

/** The same in plain JavaScript. Exported for its test. */
export function crc32ByTable(bytes: Uint8Array, value = 0): number {
  table ??= makeTable();
  let crc = ~value;
  for (let i = 0; i < bytes.length; i++) crc = (crc >>> 8) ^ table[(crc ^ bytes[i]!) & 0xff]!;
  return ~crc >>> 0;
}

function makeTable(): Uint32Array {
  const rows = new Uint32Array(256);
  for (let row = 0; row < 256; row++) {
    let crc = row;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
    rows[row] = crc;
  }
  return rows;
}

/** Row `byte` of table `n` is what `byte` has become when n more bytes, all 0, have followed it. */
function makeTables(): Int32Array {
  const rows = new Int32Array(LANES * 256);
  rows.set(makeTable());
  for (let at = 256; at < rows.length; at++) rows[at] = (rows[at - 256]! >>> 8) ^ rows[rows[at - 256]! & 0xff]!;
  return rows;
}
