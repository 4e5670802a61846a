import { STYLE } from '../style.ts';

/** What the page of a dataset needs beside the report's style sheet. */
export const DATASET_STYLE = `${STYLE}
.column { fill: var(--heat); } .dot { fill: var(--heat); fill-opacity: .45; stroke: var(--heat); }
.badge { font-size: .95rem; font-weight: 600; vertical-align: .2em; margin-left: .5rem; border: 1px solid currentColor; border-radius: 999px; padding: .1rem .7rem; white-space: nowrap; }
.problems { padding: 0; list-style: none; display: grid; gap: .5rem; }
.problems li { background: var(--card); border: 1px solid var(--line); border-left: 4px solid var(--bad); border-radius: 8px; padding: .5rem .9rem; overflow-wrap: anywhere; white-space: pre-wrap; }
.problems pre { background: var(--page); margin: .4rem 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(19rem, 100%), 1fr)); gap: 1rem; align-items: start; }
.bars td:last-child { min-width: 8rem; width: 30%; } .bars tbody th { min-width: 11rem; max-width: 26rem; overflow-wrap: anywhere; white-space: pre-wrap; }
.samples { padding: 0; list-style: none; display: grid; gap: 1rem; }
.samples > li { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .8rem 1rem 1rem; overflow-wrap: anywhere; }
.samples h3 { margin: 0 0 .6rem; font-size: .9rem; font-weight: 600; }
.beside { display: grid; grid-template-columns: 14rem minmax(0, 1fr); gap: 1rem; }
.pictures { display: flex; flex-wrap: wrap; gap: .6rem; align-content: start; }
.pictures figure { background: none; border: 0; padding: 0; max-width: 224px; }
.pictures img { display: block; min-width: 56px; max-width: 100%; max-height: 224px; border-radius: 6px; object-fit: contain; background: var(--page); }
.pictures img.tiny { width: 112px; image-rendering: pixelated; }
.pictures .missing { display: grid; place-items: center; width: 120px; height: 84px; border: 1px dashed var(--soft); border-radius: 6px; color: var(--soft); font-size: .8rem; text-align: center; }
.pictures figcaption { font-size: .75rem; }
.turns { display: grid; grid-template-columns: max-content 1fr; gap: .35rem 1rem; margin: 0; }
.turns dt { color: var(--soft); font-size: .85rem; padding-top: .1rem; } .turns dd { margin: 0; white-space: pre-wrap; }
.tokens { max-width: none; font-family: var(--mono); font-size: .82rem; line-height: 2; background: var(--page); border-radius: 8px; padding: .5rem .7rem; margin: .3rem 0 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.tokens i, .tokens b { font-style: normal; font-weight: 400; border-left: 1px solid var(--line); padding: .12em .06em; }
.tokens b { font-weight: 700; background: color-mix(in oklab, var(--good) 20%, transparent); border-bottom: 2px solid var(--good); border-left-color: var(--good); }
.tokens .special { color: var(--accent); } .tokens .image { color: var(--page); background: var(--soft); border-radius: 5px; padding: .12em .5em; white-space: nowrap; }
.tokens .gap { color: var(--soft); font-style: italic; }
.mark { display: inline-block; border-bottom: 2px solid var(--good); font-weight: 700; background: color-mix(in oklab, var(--good) 20%, transparent); padding: 0 .3em; }
@media (max-width: 48rem) { .beside { grid-template-columns: minmax(0, 1fr); } }
@media (max-width: 36rem) { .turns { grid-template-columns: 1fr; gap: .1rem; } .turns dd { margin-bottom: .5rem; } .facts { grid-template-columns: 1fr; gap: 0; } .facts dd { margin-bottom: .4rem; } main { padding: 1.25rem .8rem 3rem; } }
@media print { .samples > li { break-inside: avoid; } }
`;
