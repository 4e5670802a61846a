import { expect } from 'vitest';

/** Every tag and attribute of a page, by a small strict reader: it fails on anything that is not well formed. */
export function elements(page: string): Array<{ name: string; attributes: Record<string, string> }> {
  const found: Array<{ name: string; attributes: Record<string, string> }> = [];
  const open: string[] = [];
  const VOID = new Set(['meta', 'img', 'br', 'line', 'path']);
  const tag =
    /<(?:!doctype html|style>[\s\S]*?<\/style|(\/)?([a-z][a-z0-9]*)((?:\s+[a-z0-9-]+="[^"<>]*"|\s+[a-zA-Z]+="[^"<>]*")*)\s*(\/)?)>/gi;
  const rest = page.replace(tag, (_, closing, name, attributes, self) => {
    if (!name) return '';
    if (closing) expect(open.pop(), `</${name}>`).toBe(name);
    else {
      const list = [...(attributes ?? '').matchAll(/([a-zA-Z0-9-]+)="([^"]*)"/g)].map((m) => [m[1], m[2]]);
      found.push({ name, attributes: Object.fromEntries(list) });
      if (!self && !VOID.has(name)) open.push(name);
    }
    return '';
  });
  expect(open).toEqual([]);
  expect(rest, 'text between the tags').not.toMatch(/[<>]/);
  return found;
}
