import type { GenerationView } from './generation-view.ts';

/** Python that loads an adapter; for the report and the model card. JSON strings are Python strings, too. */
export function usageWithPeft(folder: string): string {
  return `from peft import PeftModel
from transformers import AutoModelForImageTextToText, AutoProcessor

model = AutoModelForImageTextToText.from_pretrained(BASE_MODEL)
processor = AutoProcessor.from_pretrained(BASE_MODEL)
model = PeftModel.from_pretrained(model, ${JSON.stringify(folder)})`;
}

/** What a generation says when none of its tasks is an ordinary LoRA. */
export const NO_ADAPTERS =
  'No ordinary LoRA computes what this method does, so there are no PEFT adapters. All that was learned is in `bank.safetensors`; the evaluations of this pipeline run on it.';

/** Whether tasks were published as PEFT adapters. */
export const hasAdapters = ({ tasks }: Pick<GenerationView, 'tasks'>): boolean =>
  tasks.length === 0 || tasks.some(({ adapter }) => adapter !== null);
