/**
 * Which names a policy is for: a regular expression that is searched for in the name, as everybody's policies have it, matched
 * by walking all its ways at once. Time is at most the length of the name times the size of the pattern, whatever both are:
 * a pattern of somebody in a hurry cannot hold up the broker. (Thompson 1968; the engine of the language backtracks.)
 */
import { CoreError } from '../errors.ts';
import type { Limits } from '../limits.ts';
import { type CharSet, type PatternNode, parsePattern, single } from './pattern-parser.ts';

type Step =
  | { readonly kind: 'chars'; readonly chars: CharSet }
  | { readonly kind: 'start' | 'end' | 'match' }
  /** Goes on at each of these, and not at the next step. */
  | { readonly kind: 'split'; readonly to: number[] };

export class NamePattern {
  readonly text: string;
  readonly #steps: readonly Step[];
  /** What every name that matches begins with: most patterns begin with "^" and some letters. */
  readonly #prefix: string;
  /** Steps that wait for a character now, and after it; `#seen` says when a step was added last. */
  #now: number[] = [];
  #then: number[] = [];
  readonly #seen: Uint32Array;
  #round = 0;

  /**
   * @param limits `policyPatternBytesMax`, and `policyPatternStepsMax` for what it grows to (`{n,m}` repeats its part)
   * @throws CoreError `invalid-argument` with column and reason, `limit-exceeded`
   */
  constructor(text: string, limits: Pick<Limits, 'policyPatternBytesMax' | 'policyPatternStepsMax'>) {
    const { policyPatternBytesMax, policyPatternStepsMax } = limits;
    const bytes = Buffer.byteLength(text);
    if (bytes > policyPatternBytesMax)
      throw new CoreError('limit-exceeded', `a pattern of ${bytes} bytes; ${policyPatternBytesMax} are allowed`);
    // Half a surrogate pair has no form on disk.
    if (/\p{Surrogate}/u.test(text)) throw new CoreError('invalid-argument', 'a pattern is not plain Unicode text');
    this.text = text;
    const tree = parsePattern(text);
    this.#prefix = prefixOf(tree);
    this.#steps = new Emitter(policyPatternStepsMax).emit(tree);
    this.#seen = new Uint32Array(this.#steps.length);
  }

  /** Whether the pattern is somewhere in `name`. */
  matches(name: string): boolean {
    if (!name.startsWith(this.#prefix)) return false;
    this.#seen.fill(0);
    this.#round = 0;
    this.#now.length = 0;
    let at = 0;
    for (const char of name) {
      this.#round++;
      for (const step of this.#now) this.#seen[step] = this.#round;
      // A match may begin anywhere.
      if (this.#enter(0, at === 0, false, this.#now)) return true;
      const code = char.codePointAt(0) as number;
      at += char.length;
      this.#then.length = 0;
      this.#round++;
      for (const step of this.#now) {
        const { chars } = this.#steps[step] as Step & { kind: 'chars' };
        if (isIn(chars, code) && this.#enter(step + 1, false, at === name.length, this.#then)) return true;
      }
      [this.#now, this.#then] = [this.#then, this.#now];
    }
    this.#round++;
    return this.#enter(0, at === 0, true, this.#now);
  }

  /** Go on from a step without taking a character; those that need one are added to `into`. True at the match. */
  #enter(first: number, isStart: boolean, isEnd: boolean, into: number[]): boolean {
    const open = [first];
    for (let step = open.pop(); step !== undefined; step = open.pop()) {
      if (this.#seen[step] === this.#round) continue;
      this.#seen[step] = this.#round;
      const now = this.#steps[step] as Step;
      if (now.kind === 'match') return true;
      if (now.kind === 'chars') into.push(step);
      else if (now.kind === 'split') open.push(...now.to);
      else if (now.kind === 'start' ? isStart : isEnd) open.push(step + 1);
    }
    return false;
  }
}

function prefixOf(tree: PatternNode): string {
  if (tree.kind !== 'row' || tree.parts[0]?.kind !== 'start') return '';
  let prefix = '';
  for (const part of tree.parts.slice(1)) {
    const code = part.kind === 'chars' ? single(part.chars) : undefined;
    if (code === undefined) break;
    prefix += String.fromCodePoint(code);
  }
  return prefix;
}

function isIn({ ranges, negated }: CharSet, code: number): boolean {
  for (const [first, last] of ranges) if (code >= first && code <= last) return !negated;
  return negated;
}

/** A tree as steps, one after the other. */
class Emitter {
  readonly #steps: Step[] = [];
  readonly #stepsMax: number;

  constructor(stepsMax: number) {
    this.#stepsMax = stepsMax;
  }

  emit(node: PatternNode): readonly Step[] {
    this.#node(node);
    this.#add({ kind: 'match' });
    return this.#steps;
  }

  #node(node: PatternNode): void {
    switch (node.kind) {
      case 'row':
        for (const part of node.parts) this.#node(part);
        break;
      case 'either':
        this.#either(node.parts);
        break;
      case 'repeat':
        this.#repeat(node.of, node.min, node.max);
        break;
      default:
        this.#add(node);
    }
  }

  #either(parts: readonly PatternNode[]): void {
    const split = this.#split();
    const ends: number[][] = [];
    for (const part of parts) {
      split.push(this.#steps.length);
      this.#node(part);
      ends.push(this.#split());
    }
    for (const end of ends) end.push(this.#steps.length);
  }

  #repeat(of: PatternNode, min: number, max: number): void {
    for (let n = 0; n < min; n++) {
      const before = this.#steps.length;
      this.#node(of);
      // Nothing, however often, is nothing.
      if (this.#steps.length === before) return;
    }
    if (max === Number.POSITIVE_INFINITY) {
      const start = this.#steps.length;
      const split = this.#split();
      split.push(this.#steps.length);
      this.#node(of);
      this.#split().push(start);
      split.push(this.#steps.length);
      return;
    }
    const splits: number[][] = [];
    for (let n = min; n < max; n++) {
      const split = this.#split();
      split.push(this.#steps.length);
      splits.push(split);
      this.#node(of);
    }
    for (const split of splits) split.push(this.#steps.length);
  }

  /** A step whose ways on are filled in afterwards. */
  #split(): number[] {
    const to: number[] = [];
    this.#add({ kind: 'split', to });
    return to;
  }

  #add(step: Step): void {
    if (this.#steps.length >= this.#stepsMax)
      throw new CoreError('limit-exceeded', `a pattern of more than ${this.#stepsMax} steps`);
    this.#steps.push(step);
  }
}
