/** What the parser makes of a filter. `at` is the index in the text where a node, or its operator, is written. */

export type Numeric = number | bigint;
export type Constant = string | Numeric | boolean;

export type ArithmeticOperator = '+' | '-' | '*' | '/' | '%';
export type Comparison = '=' | '<>' | '<' | '<=' | '>' | '>=';
/** Where in a text a part has to be: CONTAINS, STARTSWITH, ENDSWITH. */
export type Place = 'anywhere' | 'start' | 'end';

/** `x NOT IN ...` is `not` around `in`; so with BETWEEN, LIKE, IS NULL and the places. A run of ANDs or ORs is one node. */
export type Node =
  | NameNode
  | { readonly kind: 'constant'; readonly at: number; readonly value: Constant }
  | { readonly kind: 'negative'; readonly at: number; readonly operand: Node }
  | {
      readonly kind: 'arithmetic';
      readonly at: number;
      readonly operator: ArithmeticOperator;
      readonly left: Node;
      readonly right: Node;
    }
  | {
      readonly kind: 'compare';
      readonly at: number;
      readonly operator: Comparison;
      readonly left: Node;
      readonly right: Node;
    }
  | { readonly kind: 'between'; readonly at: number; readonly operand: Node; readonly low: Node; readonly high: Node }
  | { readonly kind: 'in'; readonly at: number; readonly operand: Node; readonly values: readonly (string | Numeric)[] }
  | {
      readonly kind: 'like';
      readonly at: number;
      readonly operand: Node;
      readonly pattern: string;
      readonly escape: string | undefined;
    }
  | { readonly kind: 'part'; readonly at: number; readonly operand: Node; readonly place: Place; readonly part: string }
  | { readonly kind: 'null'; readonly at: number; readonly operand: NameNode }
  | { readonly kind: 'not'; readonly at: number; readonly operand: Node }
  | { readonly kind: 'and' | 'or'; readonly at: number; readonly items: readonly Node[] };

export interface NameNode {
  readonly kind: 'name';
  readonly at: number;
  readonly name: string;
}

/** What a node's value can be as far as its text tells. A name can be anything. */
export type Kind = 'anything' | 'number' | 'text' | 'condition';

export function kindOf(node: Node): Kind {
  switch (node.kind) {
    case 'name':
      return 'anything';
    case 'constant':
      if (typeof node.value === 'string') return 'text';
      return typeof node.value === 'boolean' ? 'condition' : 'number';
    case 'negative':
    case 'arithmetic':
      return 'number';
    default:
      return 'condition';
  }
}

/** The nodes directly below. */
export function childrenOf(node: Node): readonly Node[] {
  switch (node.kind) {
    case 'name':
    case 'constant':
      return [];
    case 'arithmetic':
    case 'compare':
      return [node.left, node.right];
    case 'between':
      return [node.operand, node.low, node.high];
    case 'and':
    case 'or':
      return node.items;
    default:
      return [node.operand];
  }
}
