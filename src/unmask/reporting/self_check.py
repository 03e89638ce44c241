"""The self-check of a pretraining run in its report: what the model is fed, as it was measured before training."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from unmask.reporting.page import Section, html_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from unmask.reporting.record import RunRecord

__all__ = ["self_check_section"]

_TARGETS_SHOWN = 40


def self_check_section(record: RunRecord) -> Section | None:
    """Rates beside their settings, pairs, packing, and sequences to read."""
    check = record.data.get("self_check")
    if not isinstance(check, dict) or not check:
        return None
    html = html_table(["", "Measured", "Asked for"], list(_rows(check, record.config)))
    if check.get("remarks"):
        html += (
            '\n<ul class="remarks">' + "".join(f"<li>{escape(remark)}</li>" for remark in check["remarks"]) + "</ul>"
        )
    examples = "\n".join(map(_example, check.get("examples", ())))
    if examples:
        html += f'\n<h3>Sequences to read</h3>\n<ol class="sequences">\n{examples}\n</ol>'
    return Section(
        title="What training sees",
        explanation="Counted on batches of the first epoch, just as the model gets them. In the sequences, a random "
        "word in another's place is marked <so>, and one to be guessed that stays as it is =so=.",
        html=html,
    )


def _rows(check: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[list[str | float]]:
    """Each figure there is: its name, what was measured, and the setting it follows."""
    for key, name in (
        ("num_sequences", "Sequences an epoch"),
        ("tokens_per_epoch", "Tokens an epoch"),
        ("num_cut_sentences", "Sentences cut, too long for a sequence"),
    ):
        if check.get(key) is not None:
            yield [name, f"{check[key]:,}", ""]
    if check.get("mean_length") is not None:
        yield ["Tokens of a sequence, mean", f"{check['mean_length']:.1f}", f"{settings.get('max_seq_length', '')}"]
    if check.get("packing_efficiency") is not None:
        yield [f"Real tokens of a budget of {check['token_budget']:,}", f"{check['packing_efficiency']:.2%}", "≥ 97%"]
    for key, name, setting in (
        ("special_rate", "Special tokens", None),
        ("mask_rate", "Chosen to be guessed, of the others", settings.get("mlm_probability")),
        ("mask_token_rate", "Of these, seen as [MASK]", settings.get("mask_token_rate")),
        ("random_token_rate", "Of these, seen as a random token", settings.get("random_token_rate")),
        ("kept_rate", "Of these, seen as they are", _kept(settings)),
    ):
        if check.get(key) is not None:
            yield [name, f"{check[key]:.2%}", "" if setting is None else f"{setting:.4g}"]
    for name, rate in check.get("pair_rates", {}).items():
        yield [f"Pairs: {name}", f"{rate:.2%}", "0.5"]
    if check.get("pair_rates"):
        yield ["No pair, one text alone", f"{check.get('num_unpaired', 0):,}", ""]


def _kept(settings: Mapping[str, Any]) -> float | None:
    rates = [settings.get(name) for name in ("mask_token_rate", "random_token_rate")]
    return None if None in rates else 1 - sum(rates)  # type: ignore[arg-type]


def _example(example: Mapping[str, Any]) -> str:
    targets = list(example.get("targets", ()))
    guesses = ", ".join(f"{target['seen']} → {target['expected']}" for target in targets[:_TARGETS_SHOWN])
    if len(targets) > _TARGETS_SHOWN:
        guesses += f" … ({len(targets):,} in all)"
    parts = {"original": example["original"], "seen": example["seen"], "to guess": guesses}
    if example.get("pair_label"):
        parts["pair"] = example["pair_label"]
    lines = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in parts.items())
    return f"<li><dl>{lines}</dl></li>"
