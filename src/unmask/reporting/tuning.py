"""How much of a model was trained, and what that comes to beside training all of it."""

from __future__ import annotations

import shlex
from html import escape
from typing import TYPE_CHECKING

from unmask.reporting.page import Section, html_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unmask.reporting.record import RunRecord

__all__ = ["on_disk", "parameters_trained", "tuning_facts", "tuning_section"]


def tuning_facts(record: RunRecord) -> dict[str, str]:
    """How much of the model the run trained, where it tells."""
    trained = parameters_trained(record.config.get("num_trainable"), record.config.get("num_total"))
    return {"Parameters trained": trained} if trained else {}


def tuning_section(record: RunRecord) -> Section | None:
    """A run that trained a part of its model, beside full tuning, as far as this run alone can tell."""
    settings, sizes = record.config, record.sizes
    trained, total = settings.get("num_trainable"), settings.get("num_total")
    if not trained or not total or trained == total:
        return None
    rows = [["Parameters trained", f"{trained:,}", "all"], ["Of the model", f"{trained / total:.2%}", "100%"]]
    if "model" in sizes:
        model = on_disk({"model": sizes["model"]})
        kept = {name: size for name, size in sizes.items() if name == "adapter"}
        rows.append(["To keep of each model", on_disk(kept) or model, model])
    run = shlex.quote(str(settings.get("output_dir") or "RUN"))
    return Section(
        title="Beside full tuning",
        explanation="This run trained a part of the model. "
        + ("An adapter is all there is to keep of it beside the model it began with. " if "adapter" in sizes else "")
        + "What full tuning would score, and how long it would take, only a run of it can tell: give the same command "
        "with --tune all, nothing frozen, and a folder of its own as --output-dir, here FULL. Then the command below "
        "sets scores, parameters, time and disk of both side by side, and says whether the dev set tells them apart.",
        html=html_table(["", "This run", "Full tuning"], rows)
        + f"\n<pre><code>unmask compare FULL {escape(run)}</code></pre>",
    )


def parameters_trained(trained: int | None, total: int | None) -> str:
    """How many of a model's parameters were trained, and the share of all; "" where that is not told."""
    if not trained or not total:
        return ""
    return f"all {total:,}" if trained == total else f"{trained:,} of {total:,} ({trained / total:.2%})"


def on_disk(sizes: Mapping[str, int | None]) -> str:
    """What folders take on disk: "adapter 0.9 MB, model 91.8 MB"; those of which it is not known are left out."""
    return ", ".join(f"{name} {size / 1e6:,.1f} MB" for name, size in sizes.items() if size is not None)
