"""The report of an export: one HTML file that needs nothing but itself, made from the memory's documents."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from django.template.loader import render_to_string
from django.utils.safestring import mark_safe
from plotly.io import to_html

from evolution import chain, documents, repair
from evolution.archive import GENOMES, MEMORY
from evolution.genomes import Store

Document = Mapping[str, Any]


def report(directory: Path) -> str:
    """The page about the export that is being built in `directory`; the same files give the same page."""
    memory = directory / MEMORY
    experiment = documents.read_experiment(memory)
    variants = documents.read_variants(memory)
    by_number = {one["id"]: one for one in variants}
    baseline, champion = by_number.get(experiment["baseline"]), by_number.get(experiment["champion"])
    last = [*chain.lines(memory)][-1]
    return render_to_string("archive/report.html", {
        "experiment": experiment,
        "until": last.time,
        "lines": last.seq,
        "variants": [_row(one, baseline) for one in variants],
        "counts": _counts(variants),
        "repairs": _repairs(variants),
        "champion": _row(champion, baseline) if champion else None,
        "won": _won(experiment, champion),
        "contests": experiment.get("contests") or (),
        "patch": _patch(directory, baseline, champion),
        "decisions": [{"variant": one["id"], "title": one["title"], **made} for one in variants
                      for made in one.get("decisions") or ()],
        # to_html writes data as JSON with every < escaped; the rest is the library itself.
        "chart": mark_safe(_chart(variants)),  # noqa: S308
    })


def _row(one: Document, baseline: Document | None) -> dict[str, Any]:
    perplexity = one["measured"]["perplexity"]
    reference = baseline["measured"]["perplexity"] if baseline else None
    change = 100 * (perplexity / reference - 1) if perplexity and reference else None
    return {**one, "perplexity": perplexity, "mfu": one["measured"]["mfu"], "change": change}


def _won(experiment: Document, champion: Document | None) -> Document | None:
    """The contest that made the champion what it is; None for a baseline and without contests."""
    met = experiment.get("contests") or ()
    won = [one for one in met if champion and one["challenger"] == champion["id"] and one["outcome"] == "promoted"]
    return won[-1] if won else None


def _counts(variants: Sequence[Document]) -> list[tuple[str, int]]:
    statuses = [one["status"] for one in variants]
    return [(status.replace("_", " "), statuses.count(status)) for status in dict.fromkeys(sorted(statuses))]


def _repairs(variants: Sequence[Document]) -> dict[str, Any]:
    """See repair.tally."""
    return repair.tally(
        repair.Member(
            one["id"], one["kind"], one["status"], next(iter(one["parents"]), None),
            one["measured"]["perplexity"] is not None,
        ) for one in variants
    )


def _patch(directory: Path, baseline: Document | None, champion: Document | None) -> str:
    if baseline is None or champion is None or champion["id"] == baseline["id"]:
        return ""
    return Store(directory / GENOMES).diff(baseline["commit"], champion["commit"])


def _chart(variants: Sequence[Document]) -> str:
    """Perplexity by generation: a point for each measured variant, and the best so far as steps."""
    measured = [one for one in variants if one["measured"]["perplexity"] is not None]
    generations = sorted({one["generation"] for one in measured})
    best = [min(_perplexity(one) for one in measured if one["generation"] <= number) for number in generations]
    figure = {
        "data": [
            {"type": "scatter", "mode": "markers", "name": "measured", "x": [one["generation"] for one in measured],
             "y": [_perplexity(one) for one in measured], "text": [f"v{one['id']}" for one in measured],
             "hovertemplate": "%{text}: %{y:.4g}<extra></extra>"},
            {"type": "scatter", "mode": "lines", "name": "best so far", "x": generations, "y": best,
             "line": {"shape": "hv", "dash": "dot"}, "hoverinfo": "skip"},
        ],
        "layout": {
            "xaxis": {"title": {"text": "generation"}, "dtick": 1}, "yaxis": {"title": {"text": "perplexity"}},
            "margin": {"t": 20, "r": 20}, "height": 380, "legend": {"orientation": "h", "y": 1.1},
        },
    }
    page: str = to_html(
        figure, config={"displaylogo": False}, include_plotlyjs=True, full_html=False, validate=False,
        div_id="perplexity", default_height="380px",
    )
    return page


def _perplexity(one: Document) -> float:
    return float(one["measured"]["perplexity"])
