import * as zlib from 'node:zlib';

/** `zlib.crc32` came with Node 20.15; before that a table does the work, at a sixth of the speed. */
const native = (zlib as { crc32?: (bytes: Uint8Array, value?: number) => number }).crc32;

/** CRC-32 (IEEE 802.3) of some bytes, or of more bytes after those that gave `value`. */
export const crc32: (bytes: Uint8Array, value?: number) => number = native ?? crc32ByTable;

let table: Uint32Array | undefined;

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
