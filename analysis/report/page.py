"""The report of a run: one HTML file that holds its pictures and needs nothing else.

It is made from run.json, metrics.csv and samples.zarr alone. What was asked, what was done, the
answer, how sure it is and how to repeat it come first, then the viewer, the pictures, the numbers.
"""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path

from recon.storage import write_atomic

from .. import viewer
from ..runs.quantities import VERDICT
from ..runs.store import Run, Study, read_run
from . import pictures
from .pair_words import stage_table
from .style import STYLE
from .summary import summary, text, who

__all__ = ["render", "write_report"]


def write_report(out: str | Path) -> Path:
    """Make ``out/report.html`` from the other parts of a run folder.

    Raises
    ------
    DataError
        If a part is missing or broken.
    """
    return write_atomic(Path(out) / "report.html", render(read_run(out)))


def render(run: Run) -> str:
    """HTML of a run."""
    title = "Invariances of CT denoisers"
    before: list[Study | None] = [None, *run.studies]
    body = [
        f"<header>\n<h1>{title}</h1>\n{summary(run)}\n</header>",
        viewer.section(run.studies),
        *[_study(study, prior) for study, prior in zip(run.studies, before, strict=False)],
        _sure(run),
        _repeat(run),
    ]
    return (
        "<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n"
        f'<meta http-equiv=Content-Security-Policy content="{viewer.policy()}">\n'
        "<meta name=viewport content='width=device-width, initial-scale=1'>\n"
        f"<title>{title}</title>\n<style>\n{STYLE}{viewer.style()}</style>\n</head>\n"
        "<body>\n<main>\n" + "\n".join(filter(None, body)) + "\n</main>\n</body>\n</html>\n"
    )


def _study(study: Study, before: Study | None) -> str:
    """Pictures and numbers of one study; the scene is not shown again after the study before."""
    seen = before is not None and (study.denoiser, study.mas) == (before.denoiser, before.mas)
    kind = study.kind.replace("-", " ").capitalize()
    figures = "\n".join(
        f"<figure><img alt='{html.escape(picture.alt, quote=True)}' "
        f"src='data:image/png;base64,{base64.b64encode(picture.draw()).decode()}'>"
        f"<figcaption>{picture.caption}</figcaption></figure>"
        for picture in pictures.of_study(study, scene=not seen)
    )
    return (
        f"<section id='{text(study.name)}'><h2>{kind}: {text(who(study))} at {study.mas:g} "
        f"mAs</h2>\n<p>{_done(study)}</p>\n{figures}\n{_stages(study)}{_table(study)}</section>"
    )


def _done(study: Study) -> str:
    """What was done, in words, with the numbers that matter."""
    facts, scan = study.facts, study.facts["scan"]
    side = " × ".join(
        f"{n * s:g}" for n, s in zip(facts["patch"]["shape"], facts["patch"]["spacing_mm"])
    )
    scanned = (
        f"x is a patch of {side} mm of the slice, scanned at {study.mas:g} mAs and "
        f"{scan['kvp']:g} kV in one axial rotation of {scan['views']} views, "
        f"{scan['slice_thickness_mm']:g} mm thick: {scan['quanta_at_centre']:,.0f} quanta a ray at "
        f"the centre, {_share(scan['starved_share'])} of the rays starved. The slice itself is "
        "taken as noise-free."
    )
    if study.kind == "target-domain":
        return (
            f"{scanned} {facts['n']} anatomies ȳ were sampled for the output f(x), put in the "
            f"patch's place, scanned {facts['draws']} times each with fresh noise and denoised: "
            "x' = f(R⁻¹𝒫Rȳ). <strong>Every ȳ is taken as noise-free.</strong> They are "
            "judged by ‖x' - f(x)‖, the rms over the patch, beside what scanning the true y "
            "again gives."
        )
    if study.kind != "invariances":
        return f"{scanned} {text(facts.get('done', ''))}".strip()
    layers = ", ".join(facts["layers"])
    return (
        f"{scanned} After each of the layers {text(layers)} {facts['n']} images x̄ were sampled "
        "that the layer should represent as it represents x, with the same v for all layers. They "
        "are judged by ‖f(x̄) - f(x)‖, the rms over the patch, beside what drawing the noise of x "
        "again gives."
    )


def _stages(study: Study) -> str:
    """d' by stage and part of the difference, of a study that has stages."""
    if "stages" not in study.arrays:
        return ""
    parts, rows = stage_table(study)
    heads = "".join(f"<th scope=col>{text(part)}</th>" for part in ["d'", *parts])
    body = "".join(
        f"<tr><th scope=row>{text(head)}</th>"
        + "".join(f"<td class=number>{text(cell)}</td>" for cell in cells)
        + "</tr>"
        for head, cells in rows
    )
    return (
        "<div class=wide><table><caption>How much there is at each stage: d' of the ideal observer "
        f"for the whole difference and its parts.</caption><thead><tr>{heads}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _share(value: float) -> str:
    return "none" if value == 0 else "less than 0.01 %" if value < 1e-4 else f"{100 * value:.2g} %"


def _table(study: Study) -> str:
    """The numbers, each with its unit and what it should be."""
    rows = "".join(
        f"<tr><th scope=row>{text(row['quantity'])}</th><td>{text(row['layer'])}</td>"
        f"<td>{text(row['sampler'])}</td><td class=number>{_number(row)}</td>"
        f"<td>{text(row['unit'])}</td><td>{text(row['should_be'])}</td>"
        f"<td>{text(row['meaning'])}</td></tr>"
        for row in study.metrics
        if row["id"] != VERDICT  # it stands at the top
    )
    heads = "".join(
        f"<th scope=col>{head}</th>"
        for head in ("quantity", "layer", "sampler", "value", "unit", "should be", "meaning")
    )
    return (
        "<div class=wide><table><caption>Numbers. ‖·‖ is the rms over the patch's pixels."
        f"</caption><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _number(row: dict[str, str]) -> str:
    number = float(row["value"])
    return f"{number:.1f}" if row["unit"] == "HU" else f"{number:.3f}".rstrip("0").rstrip(".")


def _sure(run: Run) -> str:
    """What limits the answers."""
    notes = [str(note) for note in run.record.get("notes", [])]
    recipe = run.record.get("weights", {}).get("recipe", {})
    recipes = [f"The networks are those of the recipe “{recipe['name']}”."] if recipe else []
    if recipe.get("differs"):
        recipes.append(f"How that recipe differs from the published ones: {recipe['differs']}")
    points = [
        "One patch of one slice and one draw of its noise: the verdict is about this image.",
        "Distances are an rms over the patch. A small lesion hardly moves it: a sample that passes "
        "may still differ where it matters.",
        "A range over few samples is narrow by chance; coverage is compared with the ideal for as "
        "many samples.",
        *recipes,
        *notes,
    ]
    items = "".join(f"<li>{text(point)}</li>" for point in points)
    return f"<section><h2>How sure</h2><ul>{items}</ul></section>"


def _repeat(run: Run) -> str:
    """Command, inputs, versions and backend."""
    record = run.record
    scan = run.studies[0].facts["scan"] if run.studies else {}
    inputs = "".join(
        f"<tr><td>{text(name)}</td><td><code>{text(digest)}</code></td></tr>"
        for name, digest in record.get("inputs", {}).items()
    )
    table = f"<table><caption>Inputs, SHA-256</caption><tbody>{inputs}</tbody></table>"
    versions = ", ".join(f"{k} {v}" for k, v in record.get("versions", {}).items())
    backend = f"{scan.get('backend', '')} ({scan.get('backend_reason', '')})"
    return (
        "<section><h2>How to repeat it</h2>"
        f"<pre>{text(record.get('command', ''))}</pre>"
        f"<p>Seed {text(record.get('seed', ''))}; it took {text(record.get('seconds', '?'))} s. "
        f"Projector: {text(backend)}.</p>"
        f"<p>{text(versions)}</p>{table if inputs else ''}"
        "<details><summary>Configuration</summary>"
        f"<pre>{text(json.dumps(record.get('configuration', {}), indent=2))}</pre></details>"
        "<p>The numbers are in metrics.csv, the images in samples.zarr, everything else in "
        "run.json beside this file; <code>ctxai report</code> makes it again from them.</p>"
        "</section>"
    )
