/** Where a share group's dead letters go, in JSON protocols. */

/** Without `key`, their own. */
export const DEAD_LETTER = {
  type: 'object',
  additionalProperties: false,
  required: ['exchange'],
  properties: { exchange: { type: 'string', maxLength: 255 }, key: { type: 'string', maxLength: 65_535 } },
} as const;
