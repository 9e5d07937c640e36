/** How adapters say something: control-plane events, never one line per message. The same shape as the core's. */
export type Log = (
  level: 'debug' | 'info' | 'warn' | 'error',
  msg: string,
  fields?: Readonly<Record<string, unknown>>,
) => void;
