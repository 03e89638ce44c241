"""The sections any run can have, whatever its task: what came of it, how it learned, on what texts, how to repeat it.

Each function makes one section from the record, or None where the run left nothing to show.
"""

from __future__ import annotations

import re
from html import escape
from math import log
from typing import TYPE_CHECKING, Any

from unmask.reporting import plots
from unmask.reporting.page import Plot, Section, html_list, html_table
from unmask.reporting.tuning import tuning_facts, tuning_section

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from unmask.reporting.record import RunRecord

__all__ = [
    "MISTAKES_SHOWN",
    "RUN_TIME",
    "batches_section",
    "confusions",
    "duration",
    "epochs_section",
    "files_section",
    "first_words",
    "format_score",
    "headline",
    "headline_section",
    "item_list",
    "last_words",
    "learning_rate",
    "padding",
    "quotes",
    "repeat_section",
    "run_seconds",
    "run_sections",
    "score_meaning",
    "score_name",
    "texts_section",
]

_SCORES = {
    "accuracy": ("Accuracy", "The share of labels that are right."),
    "f1": ("F1", "The balance of precision and recall: 1 is perfect, 0 is useless."),
    "loss": ("Dev loss", "The lower, the less the model is surprised by the right answer."),
    "precision": ("Precision", "Of what was found, the share that is right."),
    "recall": ("Recall", "Of what there is to find, the share that was found."),
    "exact_match": ("Exact match", "The share of answers that are right in full: nothing missing, nothing too much."),
    "has_answer_exact_match": ("EM, answerable", "Exact match on the questions that have an answer."),
    "has_answer_f1": ("F1, answerable", "F1 on the questions that have an answer."),
    "no_answer_exact_match": ("EM, unanswerable", "Of the questions without an answer, the share left unanswered."),
    "no_answer_f1": ("F1, unanswerable", "Of the questions without an answer, the share left unanswered."),
    "hamming_accuracy": ("Hamming accuracy", "Of all labels of all texts, the share that is rightly given or not."),
    "macro_f1": ("Macro F1", "The mean of the labels' F1, a rare label counting as much as a frequent one."),
    "macro_precision": ("Macro precision", "The mean of the labels' precision."),
    "macro_recall": ("Macro recall", "The mean of the labels' recall."),
    "mae": ("Mean error", "How far a score is from the right one, on average."),
    "mcc": ("MCC", "Matthews correlation: 1 is perfect, 0 is no better than guessing, −1 is always wrong."),
    "pearson": ("Pearson", "Correlation with the right scores: 1 is perfect, 0 is no better than guessing."),
    "spearman": ("Spearman", "Correlation of the ranks: 1 where the texts stand in the right order, 0 at random."),
    "perplexity": ("Perplexity", "So many equally likely tokens would leave one as unsure as the model is."),
    "generator_perplexity": ("Generator perplexity", "So many equally likely tokens would leave one as unsure."),
    "micro_f1": ("Micro F1", "The balance of precision and recall over all labels together: 1 is perfect."),
    "mse": ("Squared error", "The mean of the squared distances from the right scores."),
    "mlm_loss": ("MLM loss", "The mean surprise at a hidden token, in nats."),
    "nsp_loss": ("NSP loss", "The mean surprise at whether a text follows, in nats."),
    "nsp_accuracy": ("NSP accuracy", "The share of pairs of which it knows whether the second text follows."),
    "sop_loss": ("SOP loss", "The mean surprise at the order of two texts, in nats."),
    "sop_accuracy": ("SOP accuracy", "The share of pairs whose order it knows."),
    "masked_accuracy": ("Masked accuracy", "The share of hidden tokens that it guesses first."),
    "generator_loss": ("Generator loss", "The mean surprise at a hidden token, in nats."),
    "rtd_loss": ("RTD loss", "The mean surprise at whether a token was replaced, in nats."),
    "rtd_accuracy": ("RTD accuracy", "The share of tokens of which it knows whether they were replaced."),
    "rtd_precision": ("RTD precision", "Of the tokens that it takes for replaced, the share that were."),
    "rtd_recall": ("RTD recall", "Of the tokens that were replaced, the share that it finds."),
}
_SHARES = ("accuracy", "precision", "recall", "exact_match")
_DISTANCES = ("mae", "mse")  # in the unit of the labels: no axis can be shared with shares and correlations
_SHOWN_BY_ANOTHER = ("no_answer_f1",)  # which is always the exact match of the same questions
_CHARACTERS_SHOWN = 300  # of a text

MISTAKES_SHOWN = 20
"""How many examples a section of mistakes has."""

RUN_TIME = "Training and evaluating"
"""What reports call `run_seconds`: `unmask compare` tells the time of the training steps alone."""


def score_name(metric: str) -> str:
    """How people write a metric: `mcc` is MCC."""
    return _SCORES[metric][0] if metric in _SCORES else metric.replace("_", " ")


def score_meaning(metric: str) -> str:
    """What a metric says, in a sentence; "" for one that is not known here."""
    return _SCORES[metric][1] if metric in _SCORES else ""


def format_score(metric: str, value: float) -> str:
    """A score as people read it: shares in percent, perplexity with one decimal, all others with three."""
    if metric.endswith(_SHARES):
        return f"{value:.1%}"
    return f"{value:,.1f}" if metric.endswith("perplexity") else f"{value:.3f}".replace("-", "−")


def headline_section(record: RunRecord, *, verdict: str = "") -> Section | None:
    """The best epoch's scores, the one that chose it first; `verdict` says in a sentence what they mean."""
    best = record.best_epoch
    if best is None:
        return None
    metric = record.metric_for_best
    others = {key.removeprefix("dev_"): value for key, value in best.items() if key.startswith("dev_")}
    left_out = (metric, *_SHOWN_BY_ANOTHER)
    facts = {score_name(name): format_score(name, value) for name, value in others.items() if name not in left_out}
    facts["Best epoch"] = f"{_epoch(best)} of {_epoch(record.epochs[-1])}"
    if "dev" in record.data:
        facts[f"Dev {record.unit}"] = f"{record.data['dev']['rows']:,}"
    facts |= tuning_facts(record)
    if seconds := run_seconds(record):
        facts[RUN_TIME] = duration(seconds)
    return headline(metric, best[f"dev_{metric}"], verdict=verdict, facts=facts)


def files_section(
    record: RunRecord, *, more: Callable[[dict[str, Any]], dict[str, str | float]] | None = None, note: str = ""
) -> Section | None:
    """The scores of the best epoch on each file alone.

    Args:
        record: the run.
        more: what else to tell of an entry of `evaluation.json`, by column.
        note: says what that is.
    """
    if not record.evaluations:
        return None
    metrics = list(record.evaluations[0]["metrics"])
    rows = [
        {"File": entry["data"], record.unit.capitalize(): entry["num_examples"]}
        | {score_name(name): format_score(name, entry["metrics"][name]) for name in metrics}
        | (more(entry) if more else {})
        for entry in record.files
    ]
    return Section(
        title="File by file",
        explanation="The best epoch was chosen on the dev set, which flatters it a little. A file that no choice was "
        f"made on gives the honest score.{note}",
        html=html_table(list(rows[0]), [list(row.values()) for row in rows]),
    )


def headline(metric: str, value: float, *, verdict: str, facts: Mapping[str, str]) -> Section:
    """One score in large figures, a sentence beside it, and facts below."""
    return Section(
        title="Result",
        html=f"""<div class="headline">
<div><p class="value">{format_score(metric, value)}</p>
<p class="name">{escape(score_name(metric))}</p><p class="meaning">{escape(score_meaning(metric))}</p></div>
<p class="verdict">{escape(verdict)}</p>
</div>
{html_list(facts, kind="facts")}""",
    )


def quotes(line: Mapping[str, Any]) -> str:
    """The text of a prediction, or both of a pair, shortened, as HTML."""
    texts = [line["text"], line["text_pair"]] if line.get("text_pair") else [line["text"]]
    return "".join(f"<q>{escape(_shorten(text))}</q>" for text in texts)


def item_list(items: Iterable[str]) -> str:
    """Examples one below the other, each an `<li>` of HTML: mistakes, or right answers marked in their texts."""
    return '<ol class="mistakes">\n' + "\n".join(items) + "\n</ol>"


def confusions(names: Sequence[str], matrix: Sequence[Sequence[int]]) -> list[tuple[str, str, int]]:
    """Which labels were taken for which others: (label, prediction, count), the most frequent first."""
    wrong = [
        (names[row], names[column], count)
        for row, counts in enumerate(matrix)
        for column, count in enumerate(counts)
        if count and row != column
    ]
    return sorted(wrong, key=lambda cell: -cell[2])


def _shorten(text: str) -> str:
    if len(text) <= _CHARACTERS_SHOWN:
        return text
    return f"{first_words(text[:_CHARACTERS_SHOWN])} … ({len(text):,} characters)"


def first_words(piece: str) -> str:
    """The whole words of a piece of text that may be cut at its end; all of it where no blank is, as in Chinese."""
    return re.sub(r"(?<=\S)\s+\S*$", "", piece)


def last_words(piece: str) -> str:
    """The whole words of a piece of text that may be cut at its beginning, likewise."""
    return re.sub(r"^\S*\s+(?=\S)", "", piece)


def run_seconds(record: RunRecord) -> float:
    """Seconds the run took so far, evaluations included."""
    return sum(epoch.get("train_seconds", 0) + epoch.get("eval_seconds", 0) for epoch in record.epochs)


def duration(seconds: float) -> str:
    """A time as people say it: 2 h 5 min, 3 min 20 s, 45 s."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def batches_section(record: RunRecord) -> Section | None:
    """Training loss and learning rate of each optimizer step."""
    if not record.steps:
        return None
    window = max(1, len(record.steps) // 40)
    no_skill = _no_skill_loss(record)
    caption = "Each batch; noisy because every batch holds other texts."
    if window > 1:
        caption = (
            f"Pale: each batch, noisy because every batch holds other texts. Bold: the mean of the last {window:,}."
        )
    if no_skill is not None:
        answer = "answering by how often each label occurs" if "labels" in record.data["train"] else "the best constant"
        caption += f" Dashed: {no_skill:.3f}, the loss of {answer}, without reading."
    return Section(
        title="Batch by batch",
        explanation="The loss is how surprised the model is by the right answers; each step nudges the weights to "
        "lower it. Upright lines are the starts of epochs: a drop there means that the model remembers texts it has "
        "seen before.",
        plots=(
            Plot("step_loss", plots.step_loss_plot(record.steps, window=window, reference_loss=no_skill), caption),
            learning_rate(record),
        ),
    )


def learning_rate(record: RunRecord) -> Plot:
    """The learning rate of each step."""
    return Plot(
        "learning_rate",
        plots.learning_rate_plot(record.steps),
        "How far one step may move the weights. Large steps first, small ones to settle; a rise at the start is the "
        "warm-up.",
    )


def epochs_section(record: RunRecord) -> Section | None:
    """Losses and scores after each epoch, and where overfitting began."""
    if not record.epochs:
        return None
    best = record.best_epoch
    shown = [
        Plot(
            "epoch_loss",
            plots.epoch_loss_plot(record.epochs, overfitting_epoch=record.overfitting_epoch),
            _overfitting(record),
        )
    ]
    left_out = [f"dev_{name}" for name in ("loss", *_SHOWN_BY_ANOTHER)]
    metrics = [key for key in record.epochs[-1] if key.startswith("dev_") and key not in left_out]
    names = {score_name(key.removeprefix("dev_")): key for key in metrics if not key.endswith(_DISTANCES)}
    if best is not None and names:
        caption = (
            f"Scores on texts the model was not trained on. Dashed: epoch {_epoch(best)}, the best by "
            f"{score_name(record.metric_for_best)}; its weights were kept."
        )
        shown.append(
            Plot("epoch_scores", plots.epoch_scores_plot(record.epochs, names=names, best_epoch=best["epoch"]), caption)
        )
    columns = {"Train loss": "train_loss", "Dev loss": "dev_loss"}
    columns |= {score_name(key.removeprefix("dev_")): key for key in metrics}
    columns |= {"Train s": "train_seconds", "Eval s": "eval_seconds", "Tokens/s": "tokens_per_second"}
    columns = {name: key for name, key in columns.items() if all(key in epoch for epoch in record.epochs)}
    return Section(
        title="Epoch by epoch",
        explanation="One epoch is one pass over all training texts. The train loss is the mean over the epoch, with "
        "dropout switched on; the dev loss is measured after it, with dropout off, on texts held back.",
        plots=tuple(shown),
        html=html_table(
            ["Epoch", *columns],
            [[_epoch(epoch), *(_cell(key, epoch[key]) for key in columns.values())] for epoch in record.epochs],
            best_row=record.epochs.index(best) if best is not None else None,
        ),
    )


def texts_section(record: RunRecord) -> Section | None:
    """How long the texts are, and the padding that was not computed."""
    if not record.data:
        return None
    shown = []
    train, unit = record.data.get("train", {}), record.unit
    windows = {name: _num_windows(split) for name, split in record.data.items()}
    in_windows = any(windows[name] != split["rows"] for name, split in record.data.items())
    if histogram := train.get("length_histogram"):
        noun = "windows" if in_windows else unit
        shown.append(
            Plot(
                "lengths",
                plots.lengths_plot(histogram, noun=noun),
                f"Training {noun} by length, special tokens included. Half of them are no longer than the median.",
            )
        )
    shown += padding(train)
    return Section(
        title="The texts",
        explanation="A batch is one run of real tokens here, text after text, so no position is wasted on padding."
        + (" Long texts are read in windows, and what two of them share counts twice." if in_windows else ""),
        plots=tuple(shown),
        html=html_table(
            ["Set", unit.capitalize(), *(["Windows"] if in_windows else []), "Tokens", "Tokens each", "Cut"],
            [
                [
                    name,
                    split["rows"],
                    *([windows[name]] if in_windows else []),
                    split["tokens"],
                    f"{split['tokens'] / windows[name]:.1f}",
                    split.get("truncated_texts", 0),
                ]
                for name, split in record.data.items()
            ],
        ),
    )


def _num_windows(split: Mapping[str, Any]) -> int:
    """Sequences of a set: its rows, or more where some are read in several windows."""
    return sum(count for _, count in split.get("length_histogram", ())) or int(split["rows"])


def padding(train: Mapping[str, Any]) -> list[Plot]:
    """The positions that ways of padding would have computed, of a set that tells them; else nothing."""
    padded = _padded_positions(train)
    if not padded:
        return []
    way, most = max(padded.items(), key=lambda entry: entry[1])
    return [
        Plot(
            "padding",
            plots.padding_plot(train["tokens"], padded),
            f"Blue: real tokens. Hatched: padding, which other set-ups compute and throw away. Padding {way} would "
            f"compute {most / train['tokens']:.1f} times as many positions as this run did.",
        )
    ]


def repeat_section(record: RunRecord) -> Section:
    """The command, the settings as resolved and the environment."""
    html = ""
    if record.command:
        html += f"<h3>Command</h3>\n<pre><code>{escape(record.command)}</code></pre>\n"
    for title, settings in (("Settings, as resolved", _own_settings(record)), ("Environment", record.environment)):
        if settings:
            html += f"<h3>{title}</h3>\n{html_list(_flatten(settings), kind='settings')}\n"
    return Section(
        title="How to repeat it",
        explanation="The same command, files, settings and versions repeat this run; on a CPU, bit for bit.",
        html=html,
    )


def run_sections(
    *,
    result: Callable[[RunRecord], Section | None] = headline_section,
    files: Callable[[RunRecord], Section | None] = files_section,
    details: Sequence[Callable[[RunRecord], Section | None]] = (),
) -> tuple[Callable[[RunRecord], Section | None], ...]:
    """Give the makers of a report's sections, in order.

    Args:
        result: makes the headline.
        files: tells the scores on each file.
        details: tell what the best model does on the dev set, as its task has it.
    """
    own = (result, files, tuning_section, epochs_section, batches_section, *details)
    return (*own, texts_section, repeat_section)


def _overfitting(record: RunRecord) -> str:
    if not any("dev_loss" in epoch for epoch in record.epochs):
        return "The train loss should fall; without a dev set nobody knows whether the model learns or memorises."
    if record.overfitting_epoch is not None:
        return (
            f"The dev loss is lowest after epoch {record.overfitting_epoch:.4g} (ringed). Later epochs (shaded) do "
            "worse on the texts held back, however well they fit the training texts: that is overfitting."
        )
    if len(record.epochs) == 1:
        return "One evaluation is too few to see overfitting: that needs a dev loss that rises again."
    return "No overfitting seen: the dev loss is lowest after the last epoch. More epochs may still help."


def _own_settings(record: RunRecord) -> dict[str, Any]:
    """The settings of a run, without those that other tasks alone have a use for."""
    from unmask.tasks import TASKS

    task = TASKS.get(str(record.config.get("task")))
    if task is None:
        return record.config
    others = {name for other in TASKS.values() for name in other.option_names} - {*task.option_names}
    return {name: value for name, value in record.config.items() if name not in others}


def _no_skill_loss(record: RunRecord) -> float | None:
    """The lowest training loss of a constant answer; of labels their entropy, in nats, if nothing else is said."""
    train = record.data.get("train", {})
    if "no_skill_loss" in train:
        return float(train["no_skill_loss"])
    counts = list(train.get("labels", {}).values())
    return sum(-count / sum(counts) * log(count / sum(counts)) for count in counts if count) if counts else None


def _padded_positions(split: Mapping[str, Any]) -> dict[str, int]:
    """Ways to pad and the positions each computes, the cheapest first, from the keys `padded_tokens_<way>`."""
    ways = {
        key.removeprefix("padded_tokens_"): count for key, count in split.items() if key.startswith("padded_tokens_")
    }
    names = {way: "to the longest" if way == "longest" else f"to {way} tokens" for way in ways}
    return {names[way]: count for way, count in sorted(ways.items(), key=lambda entry: entry[1])}


def _epoch(entry: Mapping[str, Any]) -> str:
    return f"{entry['epoch']:.4g}"


def _cell(key: str, value: float) -> str | float:
    return f"{value:.1f}" if key.endswith("_seconds") else round(value) if key == "tokens_per_second" else value


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as one level, `optimizer.learning_rate`, each value as people write it."""
    flat: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            flat[f"{prefix}{name}"] = ", ".join(map(str, value)) or "none"
        else:
            flat[f"{prefix}{name}"] = "none" if value is None else str(value)
    return flat
