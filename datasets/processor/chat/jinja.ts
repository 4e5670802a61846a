import { Environment, Interpreter, type Node, parse, type Scope, Template, tokenize, type Value } from './library.ts';
import { equal, METHODS, pythonText, strip } from './python.ts';

/** A chat template, parsed. */
export type Rendering = (variables: Readonly<Record<string, unknown>>) => string;

/** Steps and letters that no honest template needs for one conversation. */
const MOST_STEPS = 2_000_000;
const MOST_LETTERS = 2 ** 26;
const TOO_LONG = `it writes over ${MOST_LETTERS} letters`;
/** As Jinja's sandbox. */
const MOST_IN_RANGE = 100_000;

/**
 * Parses a template of transformers: Jinja with its settings, with `{% generation %}`, `raise_exception` and `strftime_now`.
 * The library runs it; what it computes otherwise than Jinja and Python is computed here.
 * @throws Error with the reason, when the template is wrong or says so itself
 */
export function parseTemplate(source: string): Rendering {
  // Marks of the answer for training; what is between them is rendered as it is.
  const plain = source
    .replaceAll(/\{%(-?)\s*generation\s*(-?)%\}/g, '{%$1 if true $2%}')
    .replaceAll(/\{%(-?)\s*endgeneration\s*(-?)%\}/g, '{%$1 endif $2%}');
  const program = parse(tokenize(plain, { lstrip_blocks: true, trim_blocks: true }));
  const asksLoops = /\bloop\b/.test(plain);
  const globals = new Environment();
  for (const [name, value] of Object.entries(GLOBALS)) globals.set(name, value);
  return (variables) => {
    const scope = new Environment(globals);
    for (const [name, value] of Object.entries(variables)) scope.set(name, value);
    return new PythonRunner(scope, asksLoops).run(program).value as string;
  };
}

const GLOBALS = {
  true: true,
  false: false,
  none: null,
  True: true,
  False: false,
  None: null,
  raise_exception: (message: unknown) => {
    throw new Error(String(message));
  },
  range: (...args: number[]) => {
    const [start, stop, step] = args.length === 1 ? [0, args[0]!, 1] : [args[0]!, args[1]!, args[2] ?? 1];
    const length = Math.max(0, Math.ceil((stop - start) / step));
    if (!(length <= MOST_IN_RANGE)) throw new Error(`a range of ${length} numbers; ${MOST_IN_RANGE} are the most`);
    return Array.from({ length }, (_, i) => start + i * step);
  },
  strftime_now: (format: string) => new Template('{{ strftime_now(format) }}').render({ format }),
};

/** A template that does not end, or writes without end. */
export class Endless extends Error {}

/** Leaves a loop's body, with what was written before. */
class LoopControl extends Error {
  output = '';
  readonly ends: boolean;
  constructor(ends: boolean) {
    super(ends ? 'break outside of a loop' : 'continue outside of a loop');
    this.ends = ends;
  }
}

/** Statements that write nothing, whatever they return. */
const SILENT = ['Set', 'Macro', 'Comment'];
const known = (value: Value): Node => ({ type: 'Known', known: value });
const nameOf = (node: unknown) => (node as Node | undefined)?.['value'] as string;

// The library turns a plain value into its own where a variable is set.
const maker = new Environment();
const made = (value: unknown) => {
  maker.variables.delete('made');
  return maker.set('made', value);
};
const Text = made('').constructor as new (value: string) => Value;

const literals = new WeakMap<Node, Value>();
/** The text of a template never changes, so that its value need not be made whenever it is met. */
function literalOf(node: Node): Value {
  const found = literals.get(node) ?? new Text(nameOf(node));
  literals.set(node, found);
  return found;
}

class PythonRunner extends Interpreter {
  private steps = 0;
  private readonly asksLoops: boolean;

  /** @param asksLoops whether the template says `loop` anywhere: what that is takes as long as the rest of most loops */
  constructor(scope: Scope, asksLoops: boolean) {
    super(scope);
    this.asksLoops = asksLoops;
  }

  private make(value: unknown): Value {
    return typeof value === 'string' ? new Text(value) : made(value);
  }

  private step(cost = 1): void {
    this.steps += cost;
    if (this.steps > MOST_STEPS) throw new Endless(`it takes over ${MOST_STEPS} steps for one conversation`);
  }

  override evaluate(node: Node | undefined, scope: Scope): Value {
    this.step();
    if (node?.type === 'Known') return node['known'] as Value;
    if (node?.type === 'StringLiteral') return literalOf(node);
    if (node?.type === 'Break' || node?.type === 'Continue') throw new LoopControl(node.type === 'Break');
    return super.evaluate(node, scope);
  }

  private limited(text: string): string {
    if (text.length > MOST_LETTERS) throw new Endless(TOO_LONG);
    return text;
  }

  override evaluateBlock(nodes: readonly Node[], scope: Scope): Value {
    let result = '';
    for (const node of nodes) {
      try {
        const value = this.evaluate(node, scope);
        if (!SILENT.includes(node.type)) result += pythonText(value);
      } catch (error) {
        if (error instanceof LoopControl) error.output = result + error.output;
        throw error;
      }
      this.limited(result);
    }
    return this.make(result);
  }

  /** Every turn of a loop has variables of its own; nothing is a list without items. */
  override evaluateFor(node: Node, scope: Scope): Value {
    const { iterable, loopvar, body, defaultBlock } = node as unknown as Record<string, Node> & {
      body: Node[];
      defaultBlock: Node[];
    };
    const select = iterable!.type === 'SelectExpression' ? iterable! : null;
    const assign = (inner: Scope, item: Value) => this.assign(loopvar!, item, inner);
    const items = this.itemsOf(this.evaluate(select ? (select['lhs'] as Node) : iterable, scope)).filter((item) => {
      if (!select) return true;
      const inner = new Environment(scope);
      assign(inner, item);
      return this.evaluate(select['test'] as Node, inner).__bool__().value;
    });
    if (items.length === 0) return this.evaluateBlock(defaultBlock, new Environment(scope));
    let result = '';
    for (const [i, item] of items.entries()) {
      this.step(10);
      const inner = new Environment(scope);
      if (this.asksLoops) inner.setVariable('loop', this.loopOf(items, i));
      assign(inner, item);
      try {
        result += this.evaluateBlock(body, inner).value as string;
      } catch (error) {
        if (!(error instanceof LoopControl)) throw error;
        result += error.output;
        if (error.ends) break;
      }
    }
    return this.make(result);
  }

  private itemsOf(value: Value): Value[] {
    switch (value.type) {
      case 'ArrayValue':
      case 'TupleValue':
        return value.value as Value[];
      case 'ObjectValue':
        return [...(value.value as Map<string, Value>).keys()].map((key) => this.make(key));
      case 'StringValue':
        return Array.from(value.value as string, (letter) => this.make(letter));
      case 'UndefinedValue':
        return [];
      default:
        throw new Error(`${pythonText(value)} cannot be iterated`);
    }
  }

  private assign(target: Node, item: Value, scope: Scope): void {
    if (target.type !== 'TupleLiteral') {
      scope.setVariable(nameOf(target), item);
      return;
    }
    const [names, items] = [target['value'] as Node[], this.itemsOf(item)];
    if (names.length !== items.length) throw new Error(`${items.length} values for ${names.length} names`);
    for (const [i, name] of names.entries()) scope.setVariable(nameOf(name), items[i]!);
  }

  private loopOf(items: readonly Value[], i: number): Value {
    const length = items.length;
    const loop = this.make({
      index: i + 1,
      index0: i,
      revindex: length - i,
      revindex0: length - i - 1,
      first: i === 0,
      last: i === length - 1,
      length,
      cycle: (...values: unknown[]) => values[i % values.length],
    });
    const fields = loop.value as Map<string, Value>;
    fields.set('previtem', items[i - 1] ?? this.make(undefined));
    fields.set('nextitem', items[i + 1] ?? this.make(undefined));
    return loop;
  }

  override evaluateBinaryExpression(node: Node, scope: Scope): Value {
    const operator = nameOf(node['operator']);
    if (operator === 'and' || operator === 'or') return super.evaluateBinaryExpression(node, scope);
    const left = this.evaluate(node['left'] as Node, scope);
    const right = this.evaluate(node['right'] as Node, scope);
    const result = this.binary(operator, left, right);
    return result === undefined
      ? super.evaluateBinaryExpression({ ...node, left: known(left), right: known(right) }, scope)
      : this.make(result);
  }

  /** What Python computes otherwise than the library; undefined for everything else. */
  private binary(operator: string, left: Value, right: Value): unknown {
    const isText = (value: Value) => value.type === 'StringValue';
    const isList = right.type === 'ArrayValue' || right.type === 'TupleValue';
    switch (operator) {
      case '==':
        return equal(left, right);
      case '!=':
        return !equal(left, right);
      case 'in':
      case 'not in': {
        if (!isList) return undefined;
        return (right.value as Value[]).some((item) => equal(item, left)) === (operator === 'in');
      }
      case '~':
        return this.limited(pythonText(left) + pythonText(right));
      case '+':
        if (isText(left) && isText(right)) return this.limited(`${left.value as string}${right.value as string}`);
        if (isText(left) === isText(right)) return undefined;
        throw new Error(`text and ${pythonText(isText(left) ? right : left, true).slice(0, 60)} cannot be joined`);
      case '*':
        if (!isText(left) || right.type !== 'IntegerValue') return undefined;
        if ((left.value as string).length * (right.value as number) > MOST_LETTERS)
          throw new Error('it writes too much');
        return (left.value as string).repeat(Math.max(0, right.value as number));
      case '%': {
        if (left.type !== 'IntegerValue' || right.type !== 'IntegerValue') return undefined;
        const [a, b] = [left.value as number, right.value as number];
        return ((a % b) + b) % b;
      }
      default:
        return undefined;
    }
  }

  override evaluateMemberExpression(node: Node, scope: Scope): Value {
    const object = this.evaluate(node['object'] as Node, scope);
    const name = node['computed'] ? undefined : nameOf(node['property']);
    if (object.type === 'UndefinedValue') throw new Error(`it reads ${name ?? 'an item'} of something undefined`);
    if (object.type === 'StringValue' && name !== undefined && Object.hasOwn(METHODS, name))
      return this.make((...args: unknown[]) => METHODS[name]!(object.value as string, ...args));
    return super.evaluateMemberExpression({ ...node, object: known(object) }, scope);
  }

  override evaluateTestExpression(node: Node, scope: Scope): Value {
    const name = nameOf(node['test']);
    const operand = this.evaluate(node['operand'] as Node, scope);
    const negate = node['negate'] === true;
    if (name === 'iterable' && operand.type === 'ObjectValue') return this.make(!negate);
    if (name === 'iterable' && operand.type === 'TupleValue') return this.make(!negate);
    if (name === 'number' && operand.type === 'BooleanValue') return this.make(!negate);
    return super.evaluateTestExpression({ ...node, operand: known(operand) }, scope);
  }

  override applyFilter(operand: Value, filter: Node, scope: Scope): Value {
    const called = filter.type === 'CallExpression';
    const name = nameOf(called ? filter['callee'] : filter);
    const args = () =>
      (called ? this.evaluateArguments(filter['args'] as Node[], scope) : [[], new Map<string, Value>()])[0] as Value[];
    const text = operand.type === 'StringValue' ? (operand.value as string) : null;
    switch (name) {
      case 'string':
        return this.make(pythonText(operand));
      case 'trim':
        return this.make(strip(pythonText(operand), args()[0]?.value, true, true));
      case 'capitalize':
        return this.make(METHODS['capitalize']!(pythonText(operand)));
      case 'd':
        return super.applyFilter(operand, renamed(filter, 'default', called), scope);
      case 'default':
        if (!called) return operand.type === 'UndefinedValue' ? this.make('') : operand;
        return super.applyFilter(operand, filter, scope);
      case 'count':
      case 'length':
        if (text !== null) return this.make(Array.from(text).length);
        return super.applyFilter(operand, renamed(filter, 'length', called), scope);
      case 'list':
        return this.listOf(this.itemsOf(operand));
      case 'first':
      case 'last':
        return this.itemsOf(operand).at(name === 'first' ? 0 : -1) ?? this.make(undefined);
      case 'items':
        return operand.type === 'UndefinedValue' ? this.listOf([]) : super.applyFilter(operand, filter, scope);
      case 'join':
        return this.join(operand, args()[0]);
      case 'selectattr':
        // Letters have no attributes.
        return text === null ? super.applyFilter(operand, filter, scope) : this.listOf([]);
      case 'map':
        return this.map(operand, filter, args(), scope);
      default:
        return super.applyFilter(operand, filter, scope);
    }
  }

  private listOf(items: readonly Value[]): Value {
    const list = this.make([]);
    (list.value as Value[]).push(...items);
    return list;
  }

  private join(operand: Value, separator: Value | undefined): Value {
    const between = separator ? pythonText(separator) : '';
    return this.make(
      this.itemsOf(operand)
        .map((item) => pythonText(item))
        .join(between),
    );
  }

  /** `map('trim')`: a filter by its name. With an attribute, the library's. */
  private map(operand: Value, filter: Node, args: readonly Value[], scope: Scope): Value {
    if (args[0]?.type !== 'StringValue') return super.applyFilter(operand, filter, scope);
    const each: Node = { type: 'Identifier', value: args[0].value };
    return this.listOf(this.itemsOf(operand).map((item) => this.applyFilter(item, each, scope)));
  }
}

function renamed(filter: Node, value: string, called: boolean): Node {
  const name = { type: 'Identifier', value };
  return called ? { ...filter, callee: name } : name;
}
