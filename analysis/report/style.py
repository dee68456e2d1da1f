"""The look of a report: readable on a screen, bright or dark, and on paper; nothing fetched."""

__all__ = ["STYLE"]

STYLE = """\
:root { color-scheme: light dark; --ink: #1d2430; --soft: #566070; --line: #dfe3e8; --edge: #7d8794;
  --paper: #ffffff; --wash: #f6f7f9; --accent: #2b5c8a;
  --yes: #24704f; --part: #8a6400; --no: #b3381e; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #a9b2bf;
  --line: #343b46; --edge: #6f7a89; --paper: #191d23; --wash: #22272f; --accent: #82b4e3;
  --yes: #63c397; --part: #e0b34a; --no: #f08a6c; } }
* { box-sizing: border-box; }
html { scroll-behavior: auto; }
body { margin: 0; background: var(--wash); color: var(--ink);
  font: 16px/1.5 "Source Sans 3", "Segoe UI", "Helvetica Neue", Arial, sans-serif; }
main { max-width: 84rem; margin: 0 auto; padding: 1.6rem 2rem 4rem; background: var(--paper); }
h1 { font-size: 1.7rem; line-height: 1.15; margin: 0 0 .7rem; letter-spacing: -.01em; }
h2 { font-size: 1.35rem; margin: 2.4rem 0 .5rem; padding-top: 1rem;
  border-top: 1px solid var(--line); }
p, li { max-width: 50rem; }
.summary { display: grid; grid-template-columns: 6.5rem minmax(0, 1fr); gap: .35rem 1rem;
  margin: 0; }
.summary dt { color: var(--soft); }
.summary dd { margin: 0; max-width: 62rem; }
.summary .headline { font-size: 1.25rem; font-weight: 650; line-height: 1.3; }
.summary code { overflow-wrap: anywhere; }
.answers { margin: 1.1rem 0 0; }
.answers tbody th { white-space: nowrap; }
.answers tbody th::before { content: ""; display: inline-block; width: .65em; height: .65em;
  border-radius: 50%; margin-right: .55em; background: var(--tone); }
.answers .yes { --tone: var(--yes); } .answers .part { --tone: var(--part); }
.answers .no { --tone: var(--no); }
.answers .verdict { font-weight: 600; color: var(--tone); white-space: nowrap; }
.answers ul { color: var(--soft); margin: 0; padding: 0; list-style: none; max-width: none; }
.answers li { display: inline; max-width: none; }
.answers li + li::before { content: "; "; }
a { color: var(--accent); }
figure { margin: 1.4rem 0; }
figure img { max-width: 100%; height: auto; display: block; background: #fff; }
figcaption { font-size: .9rem; color: var(--soft); max-width: 52rem; margin-top: .4rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .86rem; width: 100%; margin: 1rem 0; }
caption { text-align: left; color: var(--soft); padding-bottom: .4rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .7rem .3rem 0;
  border-bottom: 1px solid var(--line); font-weight: 400; }
thead th { font-weight: 600; white-space: nowrap; }
.number { text-align: right; font-variant-numeric: tabular-nums; font-weight: 600; }
pre, code { font-size: .84rem;
  font-family: "SFMono-Regular", Consolas, "Liberation Mono", monospace; }
pre { background: var(--wash); padding: .7rem .9rem; white-space: pre-wrap;
  word-break: break-word; }
td code { word-break: break-all; }
@media screen and (max-width: 50rem) { main { padding: 1rem; }
  .summary { grid-template-columns: 1fr; } .summary dt { margin-top: .4rem; }
  .answers th, .answers td { white-space: normal !important; } }
@media print { body, main { background: #fff; } body { font-size: 10.5pt; }
  main { padding: 0; max-width: none; } figure, tr { break-inside: avoid; }
  a { color: inherit; text-decoration: none; }
  .answers tbody th, .answers .verdict { white-space: normal; min-width: 7.5rem; }
  h2 { break-after: avoid; } figure img { max-height: 20cm; object-fit: contain; } }
"""
