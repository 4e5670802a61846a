/** The report's style sheet: light and dark by the reader's own setting, printable. */
export const STYLE = `
:root { color-scheme: light dark; --page: #fbfbfa; --card: #fff; --ink: #1b1e23; --soft: #5c6470; --line: #e2e4e8; --heat: #3b82d6;
  --good: #1a7f4b; --bad: #b3372f; --accent: #2866b1; --mono: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
@media (prefers-color-scheme: dark) { :root { --page: #14161a; --card: #1c1f24; --ink: #e8eaed; --soft: #9aa3af; --line: #30353d;
  --heat: #3f86d8; --good: #58c48b; --bad: #f08a80; --accent: #82b4f0; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 66rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.25; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.75rem 0 .5rem; padding-top: 1rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; overflow-wrap: anywhere; }
p { margin: .4rem 0 .8rem; max-width: 46rem; }
.soft, figcaption, caption { color: var(--soft); font-size: .9rem; }
a { color: var(--accent); }
code, pre, .mono { font-family: var(--mono); font-size: .85em; overflow-wrap: anywhere; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .9rem 1rem; overflow-x: auto; overflow-wrap: normal; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .5rem 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .4rem; }
th, td { padding: .35rem .7rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 600; font-size: .85rem; }
tbody th { font-weight: 500; }
.number { text-align: right; white-space: nowrap; }
.heat { border-collapse: separate; border-spacing: 3px; }
.heat th, .heat td { border: 0; }
.heat td { min-width: 5.2rem; text-align: center; border-radius: 6px; background: color-mix(in oklab, var(--heat) calc(var(--share) * 62%), var(--card)); }
.heat td.none { background: none; }
.heat td.average { background: none; font-weight: 650; }
.heat td.learned { box-shadow: inset 0 0 0 2px var(--accent); }
.heat small { display: block; font-size: .75rem; line-height: 1.2; color: var(--ink); opacity: .85; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); gap: .75rem; padding: 0; list-style: none; }
.cards li { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .8rem 1rem; }
.cards strong { font-size: 1.6rem; font-weight: 650; display: block; line-height: 1.25; font-variant-numeric: tabular-nums; }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.25rem; margin: 1rem 0 0; }
.facts dt { color: var(--soft); }
.facts dd { margin: 0; overflow-wrap: anywhere; }
.good { color: var(--good); } .bad { color: var(--bad); }
.answers { display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); gap: .75rem; padding: 0; list-style: none; }
.answers li { background: var(--card); border: 1px solid var(--line); border-left: 4px solid var(--good); border-radius: 8px; padding: .6rem .9rem; overflow-wrap: anywhere; display: flex; gap: .9rem; }
.answers li.wrong { border-left-color: var(--bad); }
.answers img { width: 84px; height: 84px; object-fit: contain; image-rendering: pixelated; border-radius: 4px; flex: none; }
.answers p { margin: 0 0 .3rem; white-space: pre-wrap; }
.curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: 1rem; }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .75rem 1rem; }
svg { display: block; width: 100%; height: auto; } svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
.raw { fill: none; stroke: var(--accent); stroke-width: 1; opacity: .3; } .smooth { fill: none; stroke: var(--accent); stroke-width: 2; }
.grid { stroke: var(--line); }
.bar { display: block; height: .8rem; border-radius: 4px; background: var(--heat); min-width: 2px; } .bar.other { background: var(--soft); opacity: .55; }
details summary { cursor: pointer; color: var(--accent); }
@media print { main { max-width: none; padding: 0; } h2 { break-after: avoid; } figure, .cards li, .answers li { break-inside: avoid; } }
`;
