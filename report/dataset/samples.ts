import type { DatasetView, PictureView, SampleView, TokenSpan, TokensView, TurnView } from '../../core/dataset-view.ts';
import { type Html, html } from '../markup.ts';
import { whole } from './figures.ts';

/** The only pictures that a page takes. */
const PICTURE = /^data:image\/(?:png|jpeg|webp);base64,[A-Za-z0-9+/]+=*$/;
/** Smaller ones are enlarged by whole pixels. */
const TINY = 56;

/** Some samples, as the model sees them where one is named. */
export function samplesSection({ samples, model, splits }: DatasetView): Html {
  if (samples.length === 0) return html``;
  const total = splits.reduce((sum, split) => sum + split.samples, 0);
  const drawn = samples.length < total ? `${samples.length} of ${whole(total)} samples, by lot` : 'All samples';
  const how = model
    ? html`${drawn}, as <code>${model.name}</code> reads them: every piece is a token, a row of image tokens is one mark with their number, and <span class="mark">these</span> carry loss.`
    : html`${drawn}. <span class="mark">learned</span> answers carry loss. With <code>--model</code> they are shown as its tokens.`;
  return html`<section><h2>Samples</h2><p>${how}</p><ol class="samples">${samples.map(sampleItem)}</ol></section>`;
}

function sampleItem(sample: SampleView): Html {
  const { split, id, where, pictures, tools, turns, references, tokens, leftOut } = sample;
  const place = where.includes(id) ? where : html`${id} <span class="soft">${where}</span>`;
  return html`<li><h3>${split} <span class="soft">·</span> <span class="mono">${place}</span></h3>
${leftOut !== undefined && html`<p class="bad">${leftOut}</p>`}
<div class="${pictures.length > 0 ? 'beside' : ''}">${pictures.length > 0 && html`<div class="pictures">${pictures.map(picture)}</div>`}
<div>${tokens ? tokensBlock(tokens) : html`<dl class="turns">${tools.map((tool) => html`<dt>tool given</dt><dd class="mono">${tool}</dd>`)}${turns.map(turnRow)}</dl>`}
${otherReferences(turns, references)}</div></div></li>`;
}

function otherReferences(turns: readonly TurnView[], references: readonly string[]): Html {
  const answer = turns.findLast(({ role }) => role === 'assistant')?.text;
  const others = references.filter((reference) => reference !== answer);
  return others.length === 0 ? html`` : html`<p class="soft">also accepted: ${others.join(' · ')}</p>`;
}

function picture({ small, width, height }: PictureView): Html {
  const size = width !== undefined && height !== undefined ? `${width} × ${height}` : '';
  if (!small || !PICTURE.test(small))
    return html`<figure><div class="missing">not shown</div><figcaption>${size}</figcaption></figure>`;
  const tiny = Math.max(width ?? TINY, height ?? TINY) < TINY;
  return html`<figure><img class="${tiny ? 'tiny' : ''}" src="${small}" alt=""><figcaption>${size}</figcaption></figure>`;
}

function turnRow({ role, text, loss, reasoning, calls }: TurnView): Html {
  return html`<dt>${loss ? html`<span class="mark">${role}</span>` : role}</dt><dd>${
    reasoning !== undefined && html`<span class="soft">thinks: ${reasoning}</span>\n`
  }${text === '' && !calls ? html`<em class="soft">(empty)</em>` : text}${calls?.map((call) => html`\n<span class="mono">calls ${call}</span>`)}</dd>`;
}

function tokensBlock({ count, withLoss, spans }: TokensView): Html {
  return html`<p class="soft">${whole(count)} tokens, ${whole(withLoss)} with loss</p><p class="tokens">${spans.map(
    (span) => ('left' in span ? html`<span class="gap"> … ${whole(span.left)} tokens … </span>` : spanText(span)),
  )}</p>`;
}

function spanText({ text, loss, kind, count }: TokenSpan): Html {
  if (kind === 'image') return html`<i class="image">${text} × ${whole(count)}</i>`;
  // A line end is seen, and stays one.
  const shown = text === '' ? '∅' : text.replaceAll('\n', '↵\n');
  const style = kind === 'special' ? html` class="special"` : '';
  return loss ? html`<b${style}>${shown}</b>` : html`<i${style}>${shown}</i>`;
}
