/** Python that loads an adapter; for the report and the model card. JSON strings are Python strings, too. */
export function usageWithPeft(folder: string): string {
  return `from peft import PeftModel
from transformers import AutoModelForImageTextToText, AutoProcessor

model = AutoModelForImageTextToText.from_pretrained(BASE_MODEL)
processor = AutoProcessor.from_pretrained(BASE_MODEL)
model = PeftModel.from_pretrained(model, ${JSON.stringify(folder)})`;
}
