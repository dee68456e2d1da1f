"""The look of a report: light, readable on a screen and on paper, nothing fetched."""

__all__ = ["STYLE"]

STYLE = """\
:root { --ink: #1d2430; --soft: #5b6675; --line: #dfe3e8; --paper: #ffffff; --wash: #f6f7f9; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--wash); color: var(--ink);
  font: 16px/1.55 "Source Sans 3", "Segoe UI", "Helvetica Neue", Arial, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 2.5rem 2rem 4rem; background: var(--paper); }
h1 { font-size: 2rem; line-height: 1.15; margin: 0 0 .4rem; letter-spacing: -.01em; }
h2 { font-size: 1.35rem; margin: 3rem 0 .5rem; padding-top: 1rem;
  border-top: 1px solid var(--line); }
p, li { max-width: 46rem; }
.lead { font-size: 1.12rem; color: var(--soft); margin: 0 0 1.6rem; }
.headline { font-size: 1.5rem; font-weight: 650; line-height: 1.25; margin: 0 0 1rem; }
.card { border-left: 5px solid var(--tone); background: var(--wash); margin: 0 0 .9rem;
  padding: .8rem 1.1rem; border-radius: 3px; }
.card.yes { --tone: #2e7d5b; } .card.part { --tone: #b98900; } .card.no { --tone: #b3381e; }
.card .where { margin: 0; font-size: .85rem; color: var(--soft); }
.card .verdict { margin: .1rem 0 .3rem; font-size: 1.15rem; font-weight: 600; }
.card ul { margin: 0; padding-left: 1.1rem; font-size: .93rem; }
figure { margin: 1.4rem 0; }
figure img { max-width: 100%; height: auto; display: block; }
figcaption { font-size: .9rem; color: var(--soft); max-width: 52rem; margin-top: .4rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .86rem; width: 100%; margin: 1rem 0; }
caption { text-align: left; color: var(--soft); padding-bottom: .4rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .7rem .3rem 0;
  border-bottom: 1px solid var(--line); font-weight: 400; }
thead th { font-weight: 600; white-space: nowrap; }
tbody th { min-width: 11rem; }
.number { text-align: right; font-variant-numeric: tabular-nums; font-weight: 600; }
pre, code { font-size: .84rem;
  font-family: "SFMono-Regular", Consolas, "Liberation Mono", monospace; }
pre { background: var(--wash); padding: .7rem .9rem; white-space: pre-wrap;
  word-break: break-word; }
td code { word-break: break-all; }
@media print { body, main { background: #fff; } main { padding: 0; max-width: none; }
  figure, .card, tr { break-inside: avoid; } h2 { break-after: avoid; } }
"""
