"""The report of a search: every trial, what each setting did to the score, and how the trials went.

These sections stand before those of the best trial, whose run the folder of a search is.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from unmask.reporting.page import Plot, Section, html_list, html_table
from unmask.reporting.plots import drawable, new_figure, whole_numbers
from unmask.reporting.record import read_json
from unmask.reporting.sections import duration, format_score, score_name
from unmask.reporting.theme import LIGHT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from unmask.reporting.record import RunRecord

__all__ = ["count_states", "format_setting", "read_search", "search_sections"]


def read_search(folder: Path) -> dict[str, Any] | None:
    """Read what a search came to; None where the folder holds none that is complete.

    Raises:
        DataError: the file is damaged.
    """
    return read_json(folder / "search.json", {}) or None


def search_sections(search: Mapping[str, Any] | None) -> list[Callable[[RunRecord], Section | None]]:
    """Give the makers of a search's sections; none where there is no search.

    Args:
        search: what it came to, as `read_search` gives it.
    """
    if search is None:
        return []
    return [lambda _: _trials(search), lambda _: _settings(search), lambda _: _evaluations(search)]


def format_setting(value: Any) -> str:
    """A setting as people write it: 5e-05, 16, query and value, none."""
    if isinstance(value, list | tuple):
        return " and ".join(map(format_setting, value)) or "none"
    if isinstance(value, float):
        return f"{value:.3g}"
    return "none" if value is None else str(value)


def count_states(search: Mapping[str, Any]) -> str:
    """How many trials there are, and how they ended: "18 trials, 2 of them pruned"."""
    trials = search["trials"]
    counts = [(state, sum(trial["state"] == state for trial in trials)) for state in ("pruned", "failed")]
    ended = " and ".join(f"{count} {state}" for state, count in counts if count)
    return f"{len(trials)} trials" + (f", {ended}" if ended else "")


def _trials(search: Mapping[str, Any]) -> Section:
    metric, trials = search["metric"], search["trials"]
    names = _varied(trials) or list(trials[0]["settings"])
    others = [name for name in trials[0]["scores"] if name != metric]
    rows = [
        [
            str(trial["number"]),
            *(format_setting(trial["settings"].get(name)) for name in names),
            "" if trial["score"] is None else format_score(metric, trial["score"]),
            *("" if trial["scores"] is None else format_score(name, trial["scores"][name]) for name in others),
            "" if trial["best_epoch"] is None else f"{trial['best_epoch']:.4g}",
            duration(trial["seconds"]),
            trial["state"],
        ]
        for trial in trials
    ]
    facts = {
        "Trials": count_states(search),
        "Best": ", ".join(f"{name} {format_setting(value)}" for name, value in trials[0]["settings"].items()),
        "Time": duration(sum(trial["seconds"] for trial in trials)),
    }
    failures = {f"trial {trial['number']}": trial["error"] for trial in trials if trial["error"]}
    html = html_list(facts, kind="facts") + html_table(
        ["Trial", *names, score_name(metric), *map(score_name, others), "Best epoch", "Time", "State"],
        rows,
        best_row=0,
    )
    if failures:
        html += f"<h3>Failed</h3>\n{html_list(failures, kind='settings')}"
    html += (
        f"<p>{escape(search['note'])}</p>\n<pre><code>{escape(search['next_command'])}</code></pre>\n"
        "<p>What stands below is the report of the best trial.</p>"
    )
    return Section(
        title="Trial by trial",
        explanation=f"All trials, the best by {score_name(metric)} on dev first. A pruned trial was stopped on its "
        "way, and is shown with the best score it had; a failed one ended in an error.",
        html=html,
    )


def _settings(search: Mapping[str, Any]) -> Section | None:
    """Score against each setting, and how much of the differences each explains."""
    trials = [trial for trial in search["trials"] if trial["state"] != "failed" and trial["score"] is not None]
    names = _varied(trials)
    if not names:
        return None
    caption = (
        "A dot is a trial, the ring the best, a cross one that was pruned; the line joins the means of complete trials "
        "with the same value. Failed ones are left out."
    )
    html = ""
    if search["importances"]:
        html = "<h3>What the scores differ by</h3>\n" + html_table(
            ["Setting", "Share"], [[name, f"{share:.0%}"] for name, share in search["importances"].items()]
        )
    return Section(
        title="Setting by setting",
        explanation="A setting matters where its dots lie at different heights; where they lie mixed, take the value "
        "that is cheaper. Dots that lie apart by less than the spread of seeds say nothing. The shares, where "
        "there are enough trials to tell, are of the variance of the scores over the space, by fANOVA.",
        plots=tuple(Plot(f"search_{name}", _scatter(search, trials, name), caption) for name in names),
        html=html,
    )


def _evaluations(search: Mapping[str, Any]) -> Section | None:
    """The dev score of each trial as it went on."""
    if max(len(trial["reports"]) for trial in search["trials"]) < 2:
        return None
    metric = search["metric"]
    return Section(
        title="Trials as they went",
        explanation="The dev score after each evaluation, which is what pruning goes by. A trial of more epochs still "
        "has a high learning rate when a shorter one is at its end: a line that lags behind early may end above.",
        plots=(
            Plot(
                "search_evaluations",
                _curves(search),
                f"{score_name(metric)} on dev after each evaluation, a line a trial. Bold: the best. Dotted: pruned.",
            ),
        ),
    )


def _varied(trials: Sequence[Mapping[str, Any]]) -> list[str]:
    """The settings of which more than one value was tried."""
    names = trials[0]["settings"] if trials else ()
    return [name for name in names if len({repr(trial["settings"].get(name)) for trial in trials}) > 1]


def _scatter(search: Mapping[str, Any], trials: Sequence[Mapping[str, Any]], name: str) -> Figure:
    """The score of trials against one setting."""
    metric, best = search["metric"], search["best"]
    figure, axes = new_figure(f"{score_name(metric)} on dev")
    places = _place(axes, name, [trial["settings"][name] for trial in trials])
    means: dict[float, list[float]] = {}
    for place, trial in zip(places, trials, strict=True):
        is_pruned = trial["state"] == "pruned"
        axes.plot(
            place,
            trial["score"],
            "x" if is_pruned else "o",
            color=LIGHT["muted" if is_pruned else "blue"],
            markersize=5,
            alpha=0.75,
        )
        if trial["number"] == best:
            axes.plot(place, trial["score"], "o", markersize=12, markerfacecolor="none", color=LIGHT["orange"])
        if not is_pruned:
            means.setdefault(place, []).append(trial["score"])
    shared = [(place, sum(scores) / len(scores)) for place, scores in sorted(means.items()) if len(scores) > 1]
    if len(shared) > 1:
        axes.plot(*zip(*shared, strict=True), color=LIGHT["blue"], linewidth=1.2, alpha=0.6)
    axes.set_xlabel(name)
    return figure


def _place(axes: Axes, name: str, values: Sequence[Any]) -> list[float]:
    """Where each value stands on the x axis: numbers where they are, a learning rate's on a logarithm, others apart."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        distinct = sorted(set(values))
        if distinct[0] > 0 and (name == "learning_rate" or distinct[-1] / distinct[0] > 20):
            axes.set_xscale("log")
        if len(distinct) <= 6:
            axes.set_xticks(distinct, labels=[format_setting(value) for value in distinct])
            axes.minorticks_off()
        return [float(value) for value in values]
    written = [format_setting(value) for value in values]
    kinds = list(dict.fromkeys(written))
    axes.set_xticks(range(len(kinds)), labels=[drawable(kind, str(i)) for i, kind in enumerate(kinds)])
    return [float(kinds.index(value)) for value in written]


def _curves(search: Mapping[str, Any]) -> Figure:
    """The score of each trial after each evaluation."""
    figure, axes = new_figure(f"{score_name(search['metric'])} on dev")
    for trial in search["trials"]:
        reports = sorted((int(number), score) for number, score in trial["reports"].items())
        if not reports:
            continue
        is_best, is_pruned = trial["number"] == search["best"], trial["state"] == "pruned"
        axes.plot(
            *zip(*reports, strict=True),
            color=LIGHT["orange" if is_best else "muted" if is_pruned else "blue"],
            linestyle=":" if is_pruned else "-",
            linewidth=2.2 if is_best else 1,
            marker="o",
            markersize=4 if is_best else 2.5,
            alpha=1 if is_best else 0.5,
            zorder=3 if is_best else 2,
        )
    whole_numbers(axes.xaxis)
    axes.set_xlabel("evaluation")
    return figure
