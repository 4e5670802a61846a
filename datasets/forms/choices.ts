import { quote } from '../problems.ts';
import type { Fields } from './fields.ts';
import { fromListText, holds, isObject, NoClass, readText, refuse, textOf } from './values.ts';

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ';
const KEYS = ['choices', 'options'];

/** Choices of a question, each with its letter. */
export class Choices {
  private readonly labels: readonly string[];
  private readonly texts: readonly string[];

  constructor(labels: readonly string[], texts: readonly string[]) {
    if (labels.length !== texts.length || texts.length > LETTERS.length || new Set(labels).size !== labels.length)
      refuse(`there are ${texts.length} choices with ${labels.length} labels; give each its own letter`);
    this.labels = labels;
    this.texts = texts;
  }

  /** The question with its choices, `A. …` line by line, unless it lists them itself. */
  ask(question: string): string {
    const lists = (label: string, text: string) =>
      new RegExp(`(?:^|[\\s(])${escaped(label)}[.):]\\s*${escaped(text)}`).test(question);
    if (this.labels.every((label, i) => lists(label, this.texts[i]!))) return question;
    return [question, ...this.labels.map((label, i) => `${label}. ${this.texts[i]}`)].join('\n');
  }

  /** The answer: the letter of an index (from 0), else the text as it was written, if it can be meant. */
  resolve(answer: unknown): string {
    if (answer instanceof NoClass || answer === -1 || answer === -1n)
      return readText(new NoClass(-1), 'the answer', true);
    const isWhole = typeof answer === 'number' || typeof answer === 'bigint';
    if (isWhole && Number.isInteger(Number(answer))) {
      const label = this.labels[Number(answer)];
      if (this.texts.includes(String(answer)))
        refuse(`the answer ${answer} may be an index or the text of a choice; write its letter or a text`);
      return (
        label ?? refuse(`the answer ${answer} is no index of the ${this.texts.length} choices (from 0); correct it`)
      );
    }
    const text = readText(answer, 'the answer', true);
    if (/^\d+$/.test(text) && !this.texts.includes(text) && !this.labels.includes(text))
      refuse(
        `the answer ${quote(text)} is neither a letter nor the text of a choice; write one of these, or a number for an index from 0`,
      );
    return text;
  }
}

/**
 * `choices` or `options` (or what `columns` names): a list of texts (also as JSON or Python text), an object of them by letter, or
 * `{text: […], label: […]}`. Null when there are none.
 */
export function choicesOf(row: Fields): Choices | null {
  const key = row.manifest.columns?.choices ?? KEYS.find((each) => row.has(each));
  if (key === undefined) return null;
  const value = fromListText(row.take(key), `"${key}"`);
  if (!holds(value)) return null;
  const read = (items: readonly unknown[]) => items.map((item, i) => readText(item, `choice ${i + 1}`, true));
  if (isObject(value)) {
    const { text, label } = value;
    if (Array.isArray(text) && Array.isArray(label))
      return new Choices(
        label.map((each) => textOf(each) ?? ''),
        read(text),
      );
    const given = Object.entries(value).filter(([, each]) => holds(each));
    return new Choices(
      given.map(([each]) => each),
      read(given.map(([, each]) => each)),
    );
  }
  if (!Array.isArray(value))
    refuse(`"${key}" must be a list of choices, not ${quote(value)}; write a list, or leave it out with "ignore"`);
  if (value.length > LETTERS.length) refuse(`${value.length} choices, over the limit of ${LETTERS.length}`);
  return new Choices([...LETTERS].slice(0, value.length), read(value));
}

const escaped = (text: string) => text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
