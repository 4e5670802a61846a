import * as library from '@huggingface/jinja';

/** A value while a template runs. */
export interface Value {
  /** `StringValue`, `IntegerValue`, … */
  readonly type: string;
  readonly value: unknown;
  __bool__(): { readonly value: boolean };
}

/** A node of a parsed template. */
export interface Node {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** The variables of a scope. */
export interface Scope {
  readonly variables: Map<string, Value>;
  set(name: string, value: unknown): Value;
  setVariable(name: string, value: Value): Value;
  lookupVariable(name: string): Value;
}

/** What runs a parsed template; its methods are those that the library calls on itself. */
export interface Runner {
  run(program: Node): Value;
  evaluate(node: Node | undefined, scope: Scope): Value;
  evaluateBlock(nodes: readonly Node[], scope: Scope): Value;
  evaluateFor(node: Node, scope: Scope): Value;
  evaluateBinaryExpression(node: Node, scope: Scope): Value;
  evaluateMemberExpression(node: Node, scope: Scope): Value;
  evaluateTestExpression(node: Node, scope: Scope): Value;
  evaluateArguments(args: readonly Node[], scope: Scope): [Value[], Map<string, Value>];
  applyFilter(operand: Value, filter: Node, scope: Scope): Value;
}

/** What is used of the library. Its declarations leave out file endings, so that TypeScript does not find them here. */
export const { Environment, Interpreter, Template, parse, tokenize } = library as unknown as {
  readonly Environment: new (parent?: Scope) => Scope;
  readonly Interpreter: new (scope: Scope) => Runner;
  readonly Template: new (source: string) => { render(items: object): string };
  readonly parse: (tokens: unknown) => Node;
  readonly tokenize: (source: string, options: object) => unknown;
};
