/**
 * Reading all sockets into one buffer. Node otherwise makes a new 64 KiB buffer for every read; at hundreds of megabytes a
 * second that garbage alone costs a tenth of the CPU, tens of megabytes of memory, and a full collection every 100 ms.
 *
 * Node offers this (`onread`) to clients only, so an accepted socket's handle is moved to a socket made with the option. Where
 * that is not possible the socket is read in the ordinary way.
 */
import { Socket } from 'node:net';
import { platform } from 'node:os';

/** Larger than what Node reads at once by itself: fewer reads when much is waiting. */
const READ_BYTES = 128 * 1024;

/** Reads complete one by one on one thread, and what was read is used before the next one: one buffer serves all. */
let shared: Buffer | undefined;

interface WithHandle {
  _handle?: object | null;
}

/**
 * Call `onBytes` with what `accepted` (a socket accepted with `pauseOnConnect`) reads, from the next turn on; the bytes
 * are valid during the call. Answers the socket to use from now on, which may be another one than `accepted`.
 */
export function readShared(accepted: Socket, onBytes: (bytes: Buffer) => void): Socket {
  const { _handle: handle } = accepted as WithHandle;
  // Where reads are started ahead (Windows), the kernel would write into the buffer of another socket.
  if (platform() === 'win32' || handle === undefined || handle === null) {
    accepted.on('data', onBytes);
    accepted.resume();
    return accepted;
  }
  (accepted as WithHandle)._handle = null;
  // Without its handle it closes nothing; the server only stops counting it.
  accepted.destroy();
  shared ??= Buffer.allocUnsafeSlow(READ_BYTES);
  const buffer = shared;
  const options = {
    handle,
    onread: {
      buffer,
      callback: (count: number) => {
        onBytes(buffer.subarray(0, count));
        return true;
      },
    },
  };
  return new Socket(options as ConstructorParameters<typeof Socket>[0]);
}
