import { z } from 'zod';
import { LiloraError } from '../../../core/errors.ts';
import { type Step, stepsOf, unknownStep } from './steps.ts';

/** What is put before and after the tokens of a text. */
export interface Around {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

const templateSchema = z.looseObject({
  single: z.array(
    z.union([
      z.looseObject({ SpecialToken: z.looseObject({ id: z.string() }) }),
      z.looseObject({ Sequence: z.looseObject({ id: z.string() }) }),
    ]),
  ),
  special_tokens: z.record(z.string(), z.looseObject({ ids: z.array(z.int().min(0)) })),
});
const markSchema = z.looseObject({ cls: z.tuple([z.string(), z.int()]), sep: z.tuple([z.string(), z.int()]) });

/** The post-processor of `tokenizer.json`; `BadModel` for one that is not known. */
export function openPostProcessor(step: Step | null): Around {
  if (step === null || step.type === 'ByteLevel') return { before: [], after: [] };
  switch (step.type) {
    case 'Sequence':
      return stepsOf(step, 'processors')
        .map(openPostProcessor)
        .reduce((inner, { before, after }) => ({
          before: [...before, ...inner.before],
          after: [...inner.after, ...after],
        }));
    case 'TemplateProcessing': {
      const { single, special_tokens } = read(templateSchema, step);
      const ids = single.map((item) => ('SpecialToken' in item ? idsOf(special_tokens, item) : null));
      const text = ids.indexOf(null);
      if (text < 0 || ids.lastIndexOf(null) !== text)
        throw new LiloraError('BadModel', 'tokenizer.json: TemplateProcessing has no place, or two, for the text.');
      return { before: ids.slice(0, text).flat() as number[], after: ids.slice(text + 1).flat() as number[] };
    }
    case 'BertProcessing':
    case 'RobertaProcessing': {
      const { cls, sep } = read(markSchema, step);
      return { before: [cls[1]], after: [sep[1]] };
    }
    default:
      throw unknownStep('post-processor', step);
  }
}

function idsOf(tokens: Readonly<Record<string, { ids: number[] }>>, item: Record<string, unknown>): number[] {
  const { id } = item['SpecialToken'] as { id: string };
  if (Object.hasOwn(tokens, id)) return tokens[id]!.ids;
  throw new LiloraError('BadModel', `tokenizer.json: TemplateProcessing does not say what ${JSON.stringify(id)} is.`);
}

function read<S extends z.ZodType>(schema: S, step: Step): z.output<S> {
  const result = schema.safeParse(step);
  if (result.success) return result.data;
  throw new LiloraError('BadModel', `tokenizer.json: ${String(step.type)}: ${z.prettifyError(result.error)}`);
}
