import type { Command } from 'commander';
import { z } from 'zod';
import { DEFAULTS, type Default } from '../../core/defaults.ts';
import { foldOf, looksAtData, type Method } from '../../learning/methods/method.ts';
import { methodNamed, methodNames } from '../../learning/methods/registry.ts';
import { table } from '../../report/terminal.ts';
import { result, resultJson } from '../output.ts';

export function addMethods(program: Command): void {
  program
    .command('methods')
    .description('Lists the continual-learning methods, or one of them with its options.')
    .argument('[name]')
    .option('--json', 'as JSON, with all options')
    .addHelpText(
      'after',
      `
Examples:
  $ lilora methods
  $ lilora methods lilora
  $ lilora methods --json | jq '.[] | {name, options}'
Steps that not every method takes:
${Object.entries(STEPS)
  .map(([step, meaning]) => `  ${step.padEnd(10)}${meaning}`)
  .join('\n')}`,
    )
    .action((name: string | undefined, options: { json?: boolean }) => {
      const facts = (name === undefined ? methodNames() : [name]).map((each) => methodFacts(methodNamed(each)));
      if (options.json) resultJson(name === undefined ? facts : facts[0]);
      else result(name === undefined ? listText(facts) : factsText(facts[0]!));
    });
}

/** Steps that not every method takes, in their order, and what they are. */
export const STEPS = {
  measure: 'looks at the data of the task through the model, before or after training',
  rehearse: 'takes training samples of earlier tasks again',
  regularize: 'protects earlier tasks after training, more strongly when the gate asks for it',
  safe: 'can learn so that earlier tasks compute exactly what they computed',
  rounds: 'can train on several workers',
  export: 'every task is published as a PEFT adapter',
} as const;

/** One option of a method. */
export interface OptionFacts {
  readonly name: string;
  /** What it is when nothing is given; options that follow from others are filled in. */
  readonly default: unknown;
  /** Why that is the default, or where it comes from; null where it is said in the method's card alone. */
  readonly why: string | null;
  /** As JSON Schema. */
  readonly schema: Readonly<Record<string, unknown>>;
}

/** What `lilora methods` tells of one. */
export interface MethodFacts {
  readonly name: string;
  readonly title: string;
  readonly paper: string | null;
  /** Whether a request must name its task. */
  readonly needsTask: boolean;
  /** Names of tensors that all tasks share, and of those that each task has. */
  readonly shared: readonly string[];
  readonly perTask: readonly string[];
  readonly steps: ReadonlyArray<keyof typeof STEPS>;
  readonly options: readonly OptionFacts[];
}

export function methodFacts(method: Method): MethodFacts {
  const defaults = method.options.parse({});
  const { shared, perTask } = method.describe([], defaults);
  const { name, title, paper, needsTask, rehearsal } = method;
  const measures = looksAtData(method, defaults);
  const rehearses = rehearsal?.(defaults);
  const takes: Record<keyof typeof STEPS, boolean> = {
    measure: measures,
    rehearse: Boolean(rehearses),
    regularize: method.consolidate !== undefined,
    safe: method.safe !== undefined,
    rounds: !measures && !rehearses,
    export: foldOf(method, defaults) !== null,
  };
  const steps = Object.entries(takes).flatMap(([step, taken]) => (taken ? [step as keyof typeof STEPS] : []));
  const { properties = {} } = z.toJSONSchema(method.options, { io: 'input', unrepresentable: 'any' });
  const options = Object.entries(properties).map(([option, schema]) => ({
    name: option,
    default: defaults[option] ?? null,
    why: whyDefault(name, option),
    schema: schema as Record<string, unknown>,
  }));
  return { name, title, paper, needsTask, shared, perTask, steps, options };
}

function whyDefault(method: string, option: string): string | null {
  const table: Readonly<Record<string, Default<unknown>>> = DEFAULTS;
  return (table[`${method}.${option}`] ?? table[`adapter.${option}`])?.why ?? null;
}

function listText(facts: readonly MethodFacts[]): string {
  return table([
    ['method', 'task named', 'steps', 'what it is'],
    ...facts.map(({ name, needsTask, steps, title }) => [name, needsTask ? 'yes' : 'no', steps.join(' '), title]),
  ]);
}

function factsText({ name, title, paper, needsTask, shared, perTask, steps, options }: MethodFacts): string {
  const kinds = ({ schema }: OptionFacts) => ((schema['enum'] as unknown[] | undefined) ?? [schema['type']]).join(', ');
  const list = (names: readonly string[]) => names.join(', ') || 'nothing';
  return [
    `${name}: ${title}`,
    `Paper: ${paper ?? 'none'}. A request ${needsTask ? 'must name its task' : 'need not name its task'}.`,
    `Shared by all tasks: ${list(shared)}. Per task: ${list(perTask)}.`,
    `Steps: ${list(steps)}.`,
    ...(options.length > 0
      ? [
          '',
          table([
            ['option', 'default', 'values', 'why'],
            ...options.map((option) => [option.name, JSON.stringify(option.default), kinds(option), option.why ?? '']),
          ]),
        ]
      : []),
  ].join('\n');
}
