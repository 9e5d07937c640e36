/** What an operator may allow recovery to do to a damaged log: cut it at the first bad batch and lose all after it. */
export type RecoveryRemedy = 'truncate-tail';
