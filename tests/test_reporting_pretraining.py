"""The report of a pretraining run, from a record as it leaves one. Run: pytest tests/test_reporting_pretraining.py."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest

from test_reporting_report import ATTACK, Page
from unmask.reporting import PRETRAINING_SECTIONS, RunRecord, Section, write_report
from unmask.reporting.plots import scores_by_tokens_plot, throughput_plot

if TYPE_CHECKING:
    from pathlib import Path

STEPS, EVERY = 60, 4
ENTROPY = 6.9
PROMPTS = ("He opened the [MASK] and went in.", f"It was {ATTACK} [MASK].")


def fill(prompt: str, words: list[tuple[str, float]]) -> dict[str, Any]:
    guesses = [{"token": w, "probability": p, "text": prompt.replace("[MASK]", w)} for w, p in words]
    return {"kind": "fill", "prompt": prompt, "guesses": guesses}


def examples(kind: str, number: int) -> list[dict[str, Any]]:
    if kind == "clm":
        text = f"The old man said the same {number} times"
        return [{"kind": "continuation", "prompt": "The old man", "guesses": [{"text": text}]}]
    words = [("the", 0.5), (",", 0.25), (f"word{number}", 0.125)] if number < 5 else [("door", 0.625), ("gate", 0.25)]
    shown = [fill(prompt, words) for prompt in PROMPTS]
    if kind == "rtd":
        judged = [("She", 0.015, "original"), ("green", number / 16, "replaced"), ("home", 0.25, "original")]
        guesses = [{"token": token, "probability": p, "text": truth} for token, p, truth in judged]
        shown.append({"kind": "replaced", "prompt": "She green home", "guesses": guesses})
    return shown


def scores(kind: str, number: int) -> dict[str, float]:
    loss = 7.0 - number / 5
    return {
        "mlm": {
            "loss": loss + 0.6,
            "mlm_loss": loss,
            "perplexity": math.exp(loss),
            "masked_accuracy": 0.05 + number / 50,
            "nsp_loss": 0.6,
            "nsp_accuracy": 0.5 + number / 60,
        },
        "rtd": {
            "loss": loss + 9.5,
            "generator_loss": loss,
            "generator_perplexity": math.exp(loss),
            "masked_accuracy": 0.05 + number / 50,
            "rtd_loss": 0.19,
            "rtd_accuracy": 0.91,
            "rtd_precision": number / 16,
            "rtd_recall": number / 32,
        },
        "clm": {"loss": loss, "perplexity": math.exp(loss), "accuracy": 0.1 + number / 50},
    }[kind]


TERMS = {"mlm": ("mlm", "nsp"), "rtd": ("generator", "discriminator"), "clm": ()}

CHECK = {
    "objective": "mlm",
    "pair_objective": "nsp",
    "num_sequences": 1_301,
    "tokens_per_epoch": 150_001,
    "num_cut_sentences": 7,
    "special_rate": 0.031,
    "mask_rate": 0.1512,
    "mask_token_rate": 0.8031,
    "random_token_rate": 0.0988,
    "kept_rate": 0.0981,
    "pair_rates": {"is next": 0.4941, "is not next": 0.5059},
    "num_unpaired": 3,
    "mean_length": 115.3,
    "token_budget": 4096,
    "packing_efficiency": 0.9871,
    "examples": [
        {
            "original": f"[CLS] the old man {ATTACK} [SEP]",
            "seen": "[CLS] the [MASK] =man= [SEP]",
            "targets": [
                {"position": 2, "seen": "[MASK]", "expected": "old", "label": 2214},
                {"position": 3, "seen": "man", "expected": "man", "label": 2158},
            ],
            "pair_label": "is next",
        },
        {"original": "x", "seen": "x", "targets": [{"seen": "a", "expected": "b"}] * 43, "pair_label": None},
    ],
    "remarks": ["the label has half <of> the pairs"],
}


def write_run(folder: Path, kind: str) -> Path:
    folder.mkdir()
    lines: list[dict[str, Any]] = []
    for step in range(1, STEPS + 1):
        terms = {f"loss_{term}": 7 - step / 20 for term in TERMS[kind]}
        lines.append(
            {
                "kind": "step",
                "step": step,
                "epoch": step // 31,
                "loss": 7.5 - step / 20,
                "learning_rate": 1e-4,
                "num_tokens": 1_000 + step,
                "seconds": 0.5,
                **terms,
            }
        )
        if step % EVERY == 0:
            dev = {f"dev_{name}": value for name, value in scores(kind, step // EVERY).items()}
            times = {"train_seconds": 2.0, "eval_seconds": 0.5, "tokens_per_second": 2_000.4}
            row = {"kind": "epoch", "epoch": step / 31, "step": step, "train_loss": 7.1, **dev, **times}
            lines.append(row | {"examples": examples(kind, step // EVERY)})
    split = {"documents": 31, "sequences": 1_301, "tokens": 150_001, "length_histogram": [[9, 3], [128, 1_298]]}
    data = {
        "train": {**split, "padded_tokens_128": 166_528},
        "dev": {"documents": 2, "sequences": 13, "tokens": 1_501, "unigram_cross_entropy": ENTROPY},
        "self_check": CHECK,
    }
    config = {
        "task": "pretraining",
        "family": "bert",
        "size": "mini",
        "model": None,
        "objective": ["mlm", "nsp"],
        "corpus": ["books", ATTACK],
        "metric_for_best": "loss",
        "mlm_probability": 0.15,
        "mask_token_rate": 0.8,
        "random_token_rate": 0.1,
    }
    for name, content in {"config.json": config, "data.json": data, "environment.json": {"torch": "2.13.0"}}.items():
        (folder / name).write_text(json.dumps(content))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "command.txt").write_text("unmask pretrain --corpus books\n")
    return folder


@pytest.fixture(scope="module", params=["mlm", "rtd", "clm"])
def kind(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def reported(kind, tmp_path_factory) -> Path:
    folder = write_run(tmp_path_factory.mktemp("runs") / kind, kind)
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def page(reported) -> Page:
    return Page((reported / "report.html").read_text(encoding="utf-8"))


def text_of(page: Page) -> str:
    return " ".join(page.text.split())


def sections_of(folder: Path) -> dict[str, Section]:
    record = RunRecord.read(folder)
    return {section.title: section for make in PRETRAINING_SECTIONS if (section := make(record)) is not None}


def test_the_page_stands_alone_and_runs_no_text_of_the_data(page, kind):
    assert page.attributes("src") == []
    assert {"script", "img"}.isdisjoint(tag for tag, _ in page.elements)
    assert page.attributes("onerror") == []
    assert page.text.count(ATTACK) == (
        5 if kind != "clm" else 3
    )  # summary, settings, self-check; head and last guesses
    assert "pretraining report" in page.text
    assert f"bert mini, pretrained with mlm + nsp, on books and {ATTACK}, 150,001 tokens a pass" in text_of(page)


def test_the_headline_is_perplexity_beside_what_it_costs_not_to_read(page, kind):
    """The last of 15 evaluations is the best: its loss is 7 - 15 / 5 = 4."""
    token = "next token" if kind == "clm" else "hidden token"
    text = text_of(page)
    assert f"Result {math.exp(4):.1f}" in text
    assert f"Guessing a {token} surprises the model by 4.00 nats, where answering" in text
    assert f"without reading, costs {ENTROPY:.2f} (a perplexity of {math.exp(ENTROPY):,.0f})" in text
    accuracy = 0.1 + 15 / 50 if kind == "clm" else 0.05 + 15 / 50
    assert f"It guesses the right one first in {accuracy:.1%} of all places." in text
    assert "Best step 60 of 60" in text
    assert f"Tokens trained on {60 * 1_000 + 60 * 61 // 2:,}" in text
    assert {"mlm": "NSP accuracy 75.0%", "rtd": "RTD precision 93.8%", "clm": "Next-token accuracy 40.0%"}[kind] in text


def test_every_term_has_its_curve(reported, kind):
    images = {path.stem for path in (reported / "plots").iterdir()}
    steps = {f"step_loss_{term}" for term in TERMS[kind]} or {"step_loss"}
    assert images == steps | {"dev_loss", "dev_scores", "learning_rate", "throughput", "lengths", "padding"}


def test_examples_are_shown_for_some_evaluations_the_first_and_last_among_them(page, reported, kind):
    text = text_of(page)
    html = (reported / "report.html").read_text(encoding="utf-8")
    title = {"mlm": "What it fills in", "rtd": "What it fills in", "clm": "What it writes"}[kind]
    body = sections_of(reported)[title].html.partition("</table>")[0]
    rows = [row.partition("</td>")[0] for row in body.split("<tr><td>")[1:]]
    assert (len(rows), rows[0], rows[-1]) == (12, "4", "60")
    if kind == "clm":
        assert "said the same 15 times" in text
        assert "The old man said" not in text  # the beginning stands at the head
        return
    assert "The likeliest words after step 60" in text
    assert 'title="the 50.0%, , 25.0%, word1 12.5%"' in html
    assert "He opened the [MASK] and went in. door 62.5% gate 25.0%" in text
    if kind == "rtd":
        assert '<span class="judged replaced" style="--share: 94%" title="94%">green</span>' in html
        assert '<span class="judged" style="--share: 25%" title="25%">home</span>' in html


def test_the_self_check_stands_beside_what_was_asked_for(page):
    text = text_of(page)
    assert "Chosen to be guessed, of the others 15.12% 0.15" in text
    assert "Of these, seen as they are 9.81% 0.1" in text
    assert "Pairs: is next 49.41% 0.5" in text
    assert "Real tokens of a budget of 4,096 98.71%" in text
    assert "seen [CLS] the [MASK] =man= [SEP]" in text
    assert "to guess [MASK] → old, man → man" in text
    assert "a → b … (43 in all)" in text
    assert "the label has half <of> the pairs" in text


def test_the_text_is_counted(page):
    assert "train 31 1,301 150,001 dev 2 13 1,501" in text_of(page)


def test_a_finished_run_tells_its_speed_and_its_entropy_as_evaluation_json_has_them(tmp_path):
    folder = write_run(tmp_path / "run", "clm")
    (folder / "data.json").unlink()
    training = {"tokens_per_second": 12_345.6, "share_of_arithmetic": 0.456}
    (folder / "evaluation.json").write_text(json.dumps([{"unigram_cross_entropy": 5.5, "training": training}]))
    result = sections_of(folder)["Result"].html
    assert "costs 5.50 (a perplexity of 245)" in result
    assert "<dd>12,346</dd>" in result
    assert "<dd>46%</dd>" in result


def test_what_is_not_there_yet_is_left_out(tmp_path):
    folder = write_run(tmp_path / "run", "mlm")
    (folder / "data.json").write_text('{"train": {"tokens": 13}, "dev": {}}')
    sections = sections_of(folder)
    assert "What training sees" not in sections
    assert "Guessing a hidden token surprises the model by 4.00 nats." in sections["Result"].html
    (folder / "data.json").unlink()
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join(lines[:3]))
    assert set(sections_of(folder)) == {"Step by step", "How to repeat it"}
    (folder / "metrics.jsonl").unlink()
    assert "How to repeat it" in Page(write_report(folder).read_text(encoding="utf-8")).text


def test_scores_stand_where_the_tokens_are_and_the_reference_is_drawn():
    rows = [{"tokens": 10, "a": 3.0}, {"tokens": 30, "a": 2.0}]
    figure = scores_by_tokens_plot(rows, names={"A": "a"}, title="t", best_tokens=30, reference=("Entropy", 6.5))
    axes = figure.axes[0]
    best, line, reference = axes.lines
    assert list(line.get_xdata()) == [10, 30]
    assert list(best.get_xdata()) == [30, 30]
    assert list(reference.get_ydata()) == [6.5, 6.5]
    assert {text.get_text() for text in axes.texts} == {"A", "Entropy"}
    assert axes.get_ylim()[1] > 6.5


def test_throughput_is_tokens_over_seconds():
    steps = [{"step": i, "epoch": 0, "num_tokens": 100 * i, "seconds": 0.5} for i in (1, 2, 3)]
    pale, bold = throughput_plot(steps, window=2).axes[0].lines
    assert list(pale.get_ydata()) == [200, 400, 600]
    assert list(bold.get_ydata()) == [200, 300, 500]
