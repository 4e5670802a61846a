import { describe, expect, it } from 'vitest';
import { html } from './markup.ts';

describe('html', () => {
  it('takes numbers, lists and HTML, and escapes the rest', () => {
    expect(html`<p>${1}${null}${false}${['a', html`<b>${'<'}</b>`]}</p>`.text).toBe('<p>1a<b>&lt;</b></p>');
  });
});
