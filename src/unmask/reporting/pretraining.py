"""The report of a pretraining run: what the model has learnt of the text, watched as it learnt."""

from __future__ import annotations

from html import escape
from itertools import accumulate
from math import exp
from typing import TYPE_CHECKING, Any

from unmask.reporting import plots
from unmask.reporting.page import Plot, Section, html_table
from unmask.reporting.sections import (
    RUN_TIME,
    duration,
    format_score,
    headline,
    learning_rate,
    padding,
    repeat_section,
    run_seconds,
    score_name,
)
from unmask.reporting.self_check import self_check_section

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from unmask.reporting.record import RunRecord

__all__ = [
    "PRETRAINING_SECTIONS",
    "corpus_section",
    "evaluations_section",
    "fills_section",
    "pretraining_summary",
    "result_section",
    "steps_section",
    "verdicts_section",
]

_ROWS = 12  # of evaluations in a table of examples: more than these are hard to read
_WITHOUT_READING = "Without reading"
# For each kind of guess at tokens: its loss, its perplexity, its accuracy, and what it guesses.
_GUESSES = (
    ("mlm_loss", "perplexity", "masked_accuracy", "hidden token"),
    ("generator_loss", "generator_perplexity", "masked_accuracy", "hidden token"),
    ("loss", "perplexity", "accuracy", "next token"),
)
_COUNTS = {  # of data.json
    "documents": "Documents",
    "sentences": "Sentences",
    "text_tokens": "Tokens of text",
    "sequences": "Sequences",
    "tokens": "Tokens of sequences",
    "cut_sentences": "Sentences cut",
}
_NAMES = {"accuracy": "Next-token accuracy", "loss": "Dev loss"}  # where a classifier's score has the same key
_TERMS = {
    "mlm": "masked tokens",
    "clm": "next tokens",
    "nsp": "next sentences",
    "sop": "sentence order",
    "generator": "the generator, at masked tokens",
    "discriminator": "the discriminator, weighted",
}


def pretraining_summary(record: RunRecord) -> str:
    """What was pretrained on what, as far as the settings tell."""
    settings, parts = record.config, []
    name = settings.get("model") or settings.get("family")
    if layers := settings.get("num_hidden_layers"):
        name = f"{name}, {layers} layers"
    if width := settings.get("hidden_size"):
        name = f"{name}, {width} wide"
    if not layers and not width and settings.get("size"):
        name = f"{name} {settings['size']}"
    if name:
        parts.append(str(name))
    if settings.get("objective"):
        parts.append(f"pretrained with {' + '.join(_as_list(settings['objective']))}")
    if settings.get("corpus"):
        parts.append(f"on {' and '.join(_as_list(settings['corpus']))}")
    if tokens := record.data.get("train", {}).get("tokens"):
        parts.append(f"{tokens:,} tokens a pass")
    return ", ".join(parts)


def result_section(record: RunRecord) -> Section | None:
    """How sure the best model is of a token it does not see, beside how sure one can be without reading."""
    best = record.best_epoch
    if best is None:
        return None
    scores = {key.removeprefix("dev_"): value for key, value in best.items() if key.startswith("dev_")}
    loss, perplexity, accuracy, token = _guess(scores)
    metric = perplexity if perplexity in scores else record.metric_for_best
    facts = {_name(name): format_score(name, value) for name, value in scores.items() if name != metric}
    facts["Best step"] = f"{best['step']:,} of {record.epochs[-1]['step']:,}"
    if tokens := _tokens_by_step(record).get(best["step"]):
        facts["Tokens trained on"] = f"{tokens:,}"
    speed: dict[str, float] = next((entry["training"] for entry in record.evaluations if "training" in entry), {})
    if "tokens_per_second" in speed:
        facts["Tokens a second"] = f"{speed['tokens_per_second']:,.0f}"
    if "share_of_arithmetic" in speed:
        facts["Of the machine’s arithmetic"] = f"{speed['share_of_arithmetic']:.0%}"
    if seconds := run_seconds(record):
        facts[RUN_TIME] = duration(seconds)
    verdict = ""
    if loss in scores:
        verdict = f"Guessing a {token} surprises the model by {scores[loss]:.2f} nats"
        entropy = _entropy(record)
        if entropy is None:
            verdict += "."
        else:
            verdict += (
                f", where answering by how often each token occurs, without reading, costs {entropy:.2f} (a perplexity "
                f"of {exp(min(entropy, 700)):,.0f})."
            )
    if accuracy in scores:
        verdict += f" It guesses the right one first in {scores[accuracy]:.1%} of all places."
    return headline(metric, scores[metric], verdict=verdict, facts=facts)


def evaluations_section(record: RunRecord) -> Section | None:
    """Losses and scores on the dev text as training went on."""
    best = record.best_epoch
    if best is None:
        return None
    tokens = _tokens_by_step(record)
    rows = [{**epoch, "tokens": tokens.get(epoch["step"], epoch["step"])} for epoch in record.epochs]
    best_tokens = rows[record.epochs.index(best)]["tokens"]
    metrics = [key.removeprefix("dev_") for key in best if key.startswith("dev_")]
    loss, _, _, token = _guess(metrics)
    entropy = _entropy(record)
    shown = []
    if loss in metrics:
        caption = f"The mean surprise at a {token}, in nats. Upright: the evaluation whose weights were kept."
        if entropy is not None:
            caption += (
                f" Dashed: {entropy:.2f}, what it costs to answer by how often each token occurs in the training "
                "text: a model that stays there has learnt nothing but frequencies."
            )
        figure = plots.scores_by_tokens_plot(
            rows,
            names={"Dev": f"dev_{loss}"},
            title=f"Loss at a {token}",
            best_tokens=best_tokens,
            reference=None if entropy is None else (_WITHOUT_READING, entropy),
        )
        shown.append(Plot("dev_loss", figure, caption))
    if shares := [name for name in metrics if name.endswith(("accuracy", "precision", "recall"))]:
        figure = plots.scores_by_tokens_plot(
            rows,
            names={_name(name): f"dev_{name}" for name in shares},
            title="Shares on the dev text",
            best_tokens=best_tokens,
        )
        shown.append(Plot("dev_scores", figure, _shares_caption(shares)))
    columns = {"Train loss": "train_loss"} | {_name(name): f"dev_{name}" for name in metrics}
    return Section(
        title="Evaluation by evaluation",
        explanation="Scores on text that is held back. Its masks and pairs are the same every time, so that figures "
        "compare.",
        plots=tuple(shown),
        html=html_table(
            ["Step", "Tokens", *columns, "Tokens/s"],
            [
                [
                    f"{row['step']:,}",
                    row["tokens"],
                    *(
                        format_score(key.removeprefix("dev_"), row[key]) if key in row else ""
                        for key in columns.values()
                    ),
                    round(row.get("tokens_per_second", 0)),
                ]
                for row in rows
            ],
            best_row=record.epochs.index(best),
        ),
    )


def steps_section(record: RunRecord) -> Section | None:
    """Each term of the training loss, the learning rate and the speed, step by step."""
    steps = record.steps
    if not steps:
        return None
    window = max(1, len(steps) // 40)
    keys = [key for key in steps[0] if key.startswith("loss_")]
    shown = [
        Plot(
            f"step_{key}",
            plots.step_loss_plot(
                steps,
                window=window,
                key=key,
                title=_term_title(key.removeprefix("loss_")),
                reference_loss=_entropy(record) if key in ("loss_mlm", "loss_generator") else None,
            ),
            f"Pale: each step. Bold: the mean of the last {window:,}.",
        )
        for key in keys
    ]
    if not keys:
        caption = f"Pale: each step, noisy because each meets other text. Bold: the mean of the last {window:,}."
        figure = plots.step_loss_plot(steps, window=window, reference_loss=_entropy(record))
        shown.append(Plot("step_loss", figure, caption))
    shown.append(learning_rate(record))
    if all(step.get("seconds") and step.get("num_tokens") for step in steps):
        total = sum(step["num_tokens"] for step in steps) / sum(step["seconds"] for step in steps)
        caption = f"Real tokens that a second of training takes in: {total:,.0f} on the whole. Padding is no token."
        shown.append(Plot("throughput", plots.throughput_plot(steps, window=window), caption))
    return Section(
        title="Step by step",
        explanation="The loss is how surprised the model is by what it has to guess; each step nudges the weights to "
        "lower it. Dropout is on, so it is a little higher than on the dev text.",
        plots=tuple(shown),
    )


def fills_section(record: RunRecord) -> Section | None:
    """What the model made of a few fixed sentences as training went on."""
    kinds = ("fill", "continuation")
    rows = _rows_of_examples(record, kinds)
    if not rows:
        return None
    is_fill = rows[-1][1][0].get("kind", "fill") == "fill"
    head = "".join(f"<th>{escape(entry['prompt'])}</th>" for entry in rows[-1][1])
    body = "".join(
        f"<tr><td>{_step_cell(epoch)}</td>{''.join(f'<td>{_guess_cell(entry)}</td>' for entry in entries)}</tr>\n"
        for epoch, entries in rows
    )
    html = _examples_table(head, body)
    if not is_fill:
        return Section(
            title="What it writes",
            explanation="The same beginnings after each evaluation, and how the model goes on, always with the "
            "likeliest token: so a young model repeats itself.",
            html=html,
        )
    last = [
        [entry["prompt"], *(f"{guess['token']} {guess['probability']:.1%}" for guess in entry["guesses"])]
        for entry in rows[-1][1]
    ]
    most = max(map(len, last))
    html += f"\n<h3>The likeliest words after step {rows[-1][0]['step']:,}</h3>\n" + html_table(
        ["Sentence", *("First", "Second", "Third", *map(str, range(4, most)))[: most - 1]],
        [row + [""] * (most - len(row)) for row in last],
    )
    return Section(
        title="What it fills in",
        explanation="The same sentences after each evaluation: the likeliest word behind [MASK], and how sure the "
        "model is of it. Early on these are the most frequent words of the text, whatever the sentence.",
        html=html,
    )


def verdicts_section(record: RunRecord) -> Section | None:
    """What the discriminator makes of a sentence with one word replaced."""
    rows = _rows_of_examples(record, ("replaced",))
    if not rows:
        return None
    body = "".join(
        f"<tr><td>{_step_cell(epoch)}</td><td>{' '.join(map(_judged, entry['guesses']))}</td></tr>\n"
        for epoch, entries in rows
        for entry in entries
    )
    return Section(
        title="What it takes for replaced",
        explanation="One word of this sentence is not its own: the underlined one. The stronger the orange, the surer "
        "the discriminator is that a word was replaced; point at a word for the figure.",
        html=_examples_table("<th>The discriminator’s view</th>", body),
    )


def corpus_section(record: RunRecord) -> Section | None:
    """How much text there is, and how it is cut into sequences."""
    splits = {name: record.data[name] for name in ("train", "dev") if isinstance(record.data.get(name), dict)}
    if not splits:
        return None
    train = splits.get("train", {})
    shown = []
    if train.get("length_histogram"):
        figure = plots.lengths_plot(train["length_histogram"], noun="sequences")
        shown.append(Plot("lengths", figure, "Training sequences by length, special tokens included."))
    shown += padding(train)
    columns = [key for key in _COUNTS if any(key in split for split in splits.values())]
    return Section(
        title="The text",
        explanation="Sequences lie end to end, several to a pack of about the same number of tokens, so no position is "
        "wasted on padding.",
        plots=tuple(shown),
        html=html_table(
            ["Set", *(_COUNTS[key] for key in columns)],
            [[name, *(split.get(key, "") for key in columns)] for name, split in splits.items()],
        ),
    )


PRETRAINING_SECTIONS: tuple[Callable[[RunRecord], Section | None], ...] = (
    result_section,
    evaluations_section,
    fills_section,
    verdicts_section,
    steps_section,
    corpus_section,
    self_check_section,
    repeat_section,
)


def _guess(scores: Mapping[str, Any] | Sequence[str]) -> tuple[str, str, str, str]:
    """Which loss, perplexity and accuracy tell of guessing tokens, and what is guessed."""
    return next((names for names in _GUESSES if names[0] in scores), _GUESSES[-1])


def _entropy(record: RunRecord) -> float | None:
    """What a dev token costs, in nats, that is guessed by how often each occurs in the training text."""
    said = [
        record.data.get("dev", {}).get("unigram_cross_entropy"),
        *(entry.get("unigram_cross_entropy") for entry in record.evaluations),
    ]
    return next((float(value) for value in said if value is not None), None)


def _tokens_by_step(record: RunRecord) -> dict[int, int]:
    """Tokens trained on up to each step; nothing where the steps do not count them."""
    if not all("num_tokens" in step for step in record.steps):
        return {}
    totals = accumulate(step["num_tokens"] for step in record.steps)
    return {step["step"]: total for step, total in zip(record.steps, totals, strict=True)}


def _rows_of_examples(record: RunRecord, kinds: Sequence[str]) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Some evaluations, the first and the last among them, with their examples of these kinds."""
    rows = [
        (
            epoch,
            [entry for entry in epoch.get("examples", ()) if entry.get("kind", "fill") in kinds and entry["guesses"]],
        )
        for epoch in record.epochs
    ]
    rows = [row for row in rows if row[1]]
    if len(rows) <= _ROWS:
        return rows
    return [rows[number * (len(rows) - 1) // (_ROWS - 1)] for number in range(_ROWS)]


def _examples_table(head: str, body: str) -> str:
    return (
        f'<div class="scroll"><table class="examples">\n<thead><tr><th>Step</th>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def _step_cell(epoch: Mapping[str, Any]) -> str:
    return f"{epoch['step']:,}"


def _guess_cell(entry: Mapping[str, Any]) -> str:
    guesses = entry["guesses"]
    if entry.get("kind", "fill") == "continuation":
        return escape(guesses[0]["text"].removeprefix(entry["prompt"]).strip()) or "(it ends here)"
    others = ", ".join(f"{guess['token']} {guess['probability']:.1%}" for guess in guesses)
    best = guesses[0]
    return f'<b title="{escape(others)}">{escape(best["token"])}</b> <small>{_percent(best["probability"])}</small>'


def _percent(probability: float) -> str:
    return f"{probability:.0%}" if probability >= 0.1 else f"{probability:.1%}"


def _judged(guess: Mapping[str, Any]) -> str:
    share = f"{guess['probability']:.0%}"
    kind = "judged replaced" if guess.get("text") == "replaced" else "judged"
    return f'<span class="{kind}" style="--share: {share}" title="{share}">{escape(guess["token"])}</span>'


def _shares_caption(names: Sequence[str]) -> str:
    said: Iterator[str] = (
        text
        for key, text in {
            "masked_accuracy": "Masked accuracy: hidden tokens guessed first.",
            "accuracy": "Accuracy: next tokens guessed first.",
            "nsp_accuracy": "NSP: pairs whose second text it knows to follow or not; half are right by chance.",
            "sop_accuracy": "SOP: pairs whose order it knows; half are right by chance.",
            "rtd_accuracy": "RTD accuracy is high from the start, as most tokens are original: precision (how many of "
            "those it flags were replaced) and recall (how many of the replaced it flags) tell more.",
        }.items()
        if key in names
    )
    return " ".join(said)


def _name(metric: str) -> str:
    return _NAMES.get(metric) or score_name(metric)


def _term_title(term: str) -> str:
    return f"Training loss: {_TERMS.get(term, term)}"


def _as_list(value: Any) -> list[str]:
    return list(map(str, value)) if isinstance(value, list | tuple) else [str(value)]
