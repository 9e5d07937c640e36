/**
 * Byte work of the hot paths. In Node a `subarray` costs 50 to 150 ns and leaves garbage, so short ranges are copied in place:
 * very short ones byte by byte, the others four bytes at a time through a `DataView`, which needs no alignment.
 */

/** Shorter ranges are not worth the call of anything else. */
const LOOP_BYTES_MAX = 3;
/** Longer ranges are copied by `set`. */
export const VIEW_BYTES_MAX = 160;

// Sources and targets change seldom: a chunk of a socket, a batch, a chunk of the arena hold hundreds of messages.
let sourceBytes: Uint8Array = new Uint8Array(0);
let sourceView = new DataView(sourceBytes.buffer);
let targetBytes: Uint8Array = sourceBytes;
let targetView = sourceView;

/** Copy `source[start, end)` to `target` at `at`. The ranges do not overlap. */
export function copyBytes(source: Uint8Array, start: number, end: number, target: Uint8Array, at: number): void {
  const length = end - start;
  if (length <= LOOP_BYTES_MAX) {
    while (start < end) target[at++] = source[start++] as number;
  } else if (length <= VIEW_BYTES_MAX) {
    if (source !== sourceBytes) {
      sourceView = viewOf(source);
      sourceBytes = source;
    }
    copyView(sourceView, start, end, target, at);
  } else {
    target.set(source.subarray(start, end), at);
  }
}

/** As `copyBytes`, for a source that keeps a view of itself. */
export function copyView(source: DataView, start: number, end: number, target: Uint8Array, at: number): void {
  if (target !== targetBytes) {
    targetView = viewOf(target);
    targetBytes = target;
  }
  const into = targetView;
  // The last step takes what is left and, before that, bytes copied already: that costs less than a loop of smaller steps.
  if (end - start >= 16) {
    const last = end - 16;
    for (; start < last; start += 16, at += 16) copy16(source, start, into, at);
    copy16(source, last, into, at - start + last);
  } else if (end - start >= 4) {
    const last = end - 4;
    for (; start < last; start += 4, at += 4) into.setInt32(at, source.getInt32(start, true), true);
    into.setInt32(at - start + last, source.getInt32(last, true), true);
  } else {
    for (; start < end; start++, at++) into.setUint8(at, source.getUint8(start));
  }
}

function copy16(source: DataView, start: number, into: DataView, at: number): void {
  into.setInt32(at, source.getInt32(start, true), true);
  into.setInt32(at + 4, source.getInt32(start + 4, true), true);
  into.setInt32(at + 8, source.getInt32(start + 8, true), true);
  into.setInt32(at + 12, source.getInt32(start + 12, true), true);
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

export function writeU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

export function readU32(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)) >>>
    0
  );
}

export function readU16(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
}
