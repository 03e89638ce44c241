"""The report as a reader meets it: one file, true to the record, that lets no data run as code."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from math import log
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from unmask.errors import DataError
from unmask.metrics import classification_report
from unmask.reporting import CLASSIFICATION_SECTIONS, Plot, RunRecord, Section, html_table, write_report
from unmask.reporting.page import render_page
from unmask.reporting.sections import (
    files_section,
    headline_section,
    repeat_section,
    score_meaning,
    score_name,
    texts_section,
)
from unmask.tasks import TASKS

if TYPE_CHECKING:
    from pathlib import Path

ATTACK = """<script>alert("1")</script><img src=x onerror='alert(2)'>"""
NAMES = ["부정", "<b>good</b>"]
PLOTS = {"epoch_loss", "epoch_scores", "step_loss", "learning_rate", "confusion_matrix", "lengths", "padding"}


class Page(HTMLParser):
    """What a browser sees: elements, attributes, text; raises where elements are not closed in order."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.text += data + " "

    def attributes(self, name: str) -> list[str]:
        return [attributes[name] or "" for _, attributes in self.elements if name in attributes]


def prediction(label: int, guess: int, probability: float, text: str = "a text") -> dict[str, Any]:
    probabilities = {NAMES[guess]: probability, NAMES[1 - guess]: 1 - probability}
    return {
        "text": text,
        "text_pair": None,
        "label": NAMES[label],
        "predicted": NAMES[guess],
        "probability": probability,
        "probabilities": {name: probabilities[name] for name in NAMES},
    }


PREDICTIONS = [
    *[prediction(1, 1, 0.9)] * 5,
    *[prediction(0, 0, 0.8)] * 2,
    prediction(0, 1, 0.625, "weak mistake"),
    prediction(1, 0, 0.987, ATTACK),
    {**prediction(0, 1, 0.75, "글" * 1_301), "text_pair": "the second text"},
]


def write_run(folder: Path) -> Path:
    folder.mkdir()
    steps = [
        {"kind": "step", "step": i + 1, "epoch": i // 7, "loss": 0.7 - i / 100, "learning_rate": 1e-5 * (21 - i)}
        for i in range(21)
    ]
    epochs = [
        {"kind": "epoch", "epoch": i, "train_loss": 0.8 - i / 10, "dev_loss": loss, "dev_accuracy": 0.7, "dev_mcc": mcc}
        for i, (loss, mcc) in enumerate([(0.65, -0.125), (0.55, 0.375), (0.6, 0.25)], start=1)
    ]
    lines = {
        "metrics.jsonl": [
            *steps,
            *({**epoch, "train_seconds": 40.25, "tokens_per_second": 1731.7} for epoch in epochs),
        ],
        "predictions_dev.jsonl": PREDICTIONS,
    }
    split = {"rows": 13, "tokens": 110, "labels": {"0": 3, "1": 10}, "truncated_texts": 1}
    padding = {"padded_tokens_128": 1_664, "padded_tokens_64": 832, "padded_tokens_longest": 220}
    test = classification_report([0, 0, 1], [0, 1, 1], label_names=NAMES)
    objects: dict[str, Any] = {
        "config.json": {
            "task": "classification",
            "model": "minilm",
            "train": ATTACK,
            "metric_for_best": "mcc",
            "dev": ["in.tsv", "out.tsv"],
            "max_seq_length": None,
        },
        "environment.json": {"torch": "2.13.0", "machine": {"cpu": ATTACK}},
        "data.json": {"train": {**split, **padding, "length_histogram": [[5, 4], [9, 7], [17, 2]]}, "dev": split},
        "evaluation.json": [{"data": f"test.tsv {ATTACK}", **test.to_dict()}],
    }
    for name, content in objects.items():
        (folder / name).write_text(json.dumps(content, ensure_ascii=False))
    for name, entries in lines.items():
        (folder / name).write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in entries))
    (folder / "command.txt").write_text(f"unmask finetune classification --train '{ATTACK}'\n")
    return folder


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run")


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with its report, only to be looked at."""
    folder = write_run(tmp_path_factory.mktemp("runs") / "cola-<seed 3>")
    (folder / "plots").mkdir()
    (folder / "plots" / "stale.png").touch()
    assert write_report(folder) == folder / "report.html"
    return folder


@pytest.fixture(scope="module")
def page(reported: Path) -> Page:
    return Page((reported / "report.html").read_text(encoding="utf-8"))


def made_sections(folder: Path) -> dict[str, Section]:
    record = RunRecord.read(folder)
    return {section.title: section for make in CLASSIFICATION_SECTIONS if (section := make(record)) is not None}


def captions(folder: Path, title: str) -> str:
    return " ".join(plot.caption or "" for plot in made_sections(folder)[title].plots)


def test_the_page_needs_nothing_but_itself(reported: Path, page: Page) -> None:
    assert page.attributes("src") == []
    assert all(link.startswith("#") for link in [*page.attributes("href"), *page.attributes("xlink:href")])
    html = (reported / "report.html").read_text(encoding="utf-8")
    assert "@import" not in html
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", html))
    assert page.attributes("content")[-1] == "default-src 'none'; style-src 'unsafe-inline'"


def test_no_text_of_data_files_or_settings_becomes_code(page: Page) -> None:
    assert {"script", "img"}.isdisjoint(tag for tag, _ in page.elements)
    assert page.attributes("onerror") == []
    assert not any(tag == "b" and attributes for tag, attributes in page.elements)
    assert page.text.count(ATTACK) == 6  # summary, mistake, test file, setting, environment, command
    assert "cola-<seed 3>" in page.text
    assert "<b>good</b>" in page.text


def test_ids_are_unique_and_every_link_has_a_target(page: Page) -> None:
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    assert {link.removeprefix("#") for link in page.attributes("href")} <= set(ids)


def test_the_headline_is_the_best_epoch_beside_what_a_constant_answer_scores(page: Page) -> None:
    text = page.text
    assert re.search(r"Result\s+0\.375\s+MCC", text)
    assert "2 of 3" in text
    assert "The model gives the right label to 7 of 10 dev texts (70.0%)." in text
    assert "Always answering “<b>good</b>” would be right for 6 (60.0%)." in text
    assert "−0.125" in text
    assert "2 min 1 s" in text


def test_the_page_says_what_was_trained_on_what(page: Page) -> None:
    assert f"minilm, trained on {ATTACK} (13 texts), judged on in.tsv and out.tsv (13 texts)" in page.text


def test_settings_are_listed_as_people_write_them(page: Page) -> None:
    text = " ".join(page.text.split())
    assert "dev in.tsv, out.tsv" in text
    assert "max_seq_length none" in text
    assert f"machine.cpu {ATTACK}" in text


def test_a_test_file_is_judged_apart(page: Page) -> None:
    text = " ".join(page.text.split())
    assert f"test.tsv {ATTACK} 3 66.7% 0.500 0.667 2 66.7%" in text


def test_overfitting_is_named_and_the_no_skill_loss_is_the_entropy_of_the_labels(page: Page) -> None:
    text = page.text
    assert "The dev loss is lowest after epoch 2 (ringed)." in text
    entropy = -(3 / 13 * log(3 / 13) + 10 / 13 * log(10 / 13))
    assert f"Dashed: {entropy:.3f}, the loss of answering by how often each label occurs" in text


def test_mistakes_come_with_their_texts_the_surest_first(page: Page) -> None:
    text = page.text
    assert "Of 3 wrong answers on the dev set, the surest first." in text
    order = [text.rindex(found) for found in ("98.7%", "75.0%", "62.5%")]
    assert order == sorted(order)
    assert f"{'글' * 300} … (1,301 characters)" in text
    assert "the second text" in text


def test_padding_that_was_not_computed(page: Page) -> None:
    text = page.text
    assert "Padding to 128 tokens would compute 15.1 times as many positions as this run did." in text
    assert "93% padding" in text  # 1 - 110 / 1664
    assert "50% padding" in text
    assert "Median 9" in text


def test_every_plot_is_also_a_png_and_an_old_one_goes(reported: Path) -> None:
    images = {path.stem: path.read_bytes() for path in (reported / "plots").iterdir()}
    assert set(images) == PLOTS
    assert all(image.startswith(b"\x89PNG") for image in images.values())


def test_a_report_made_again_is_the_same_to_the_byte(reported: Path) -> None:
    first = (reported / "report.html").read_bytes()
    assert write_report(reported).read_bytes() == first


@pytest.mark.parametrize(
    ("missing", "left_out"),
    [
        ("predictions_dev.jsonl", {"Label by label", "Most confident mistakes"}),
        ("evaluation.json", {"File by file"}),
        ("data.json", {"The texts"}),
        ("metrics.jsonl", {"Result", "Epoch by epoch", "Batch by batch"}),
        ("command.txt", set()),
        ("environment.json", set()),
    ],
)
def test_a_missing_file_leaves_its_sections_out(run_folder: Path, missing: str, left_out: set[str]) -> None:
    whole = made_sections(run_folder)
    (run_folder / missing).unlink()
    rest = made_sections(run_folder)
    assert set(whole) - set(rest) == left_out
    assert ("<h3>Command</h3>" in rest["How to repeat it"].html) == (missing != "command.txt")
    assert ("<h3>Environment</h3>" in rest["How to repeat it"].html) == (missing != "environment.json")


def test_a_run_that_has_only_settings(run_folder: Path) -> None:
    for path in run_folder.iterdir():
        if path.name != "config.json":
            path.unlink()
    report = write_report(run_folder)
    assert "How to repeat it" in Page(report.read_text(encoding="utf-8")).text
    assert list((run_folder / "plots").iterdir()) == []


def test_a_run_without_a_dev_set(run_folder: Path) -> None:
    metrics = run_folder / "metrics.jsonl"
    metrics.write_text(re.sub(r'"dev_\w+": [-.\d]+, ', "", metrics.read_text()))
    sections = made_sections(run_folder)
    assert "Result" not in sections
    assert "without a dev set nobody knows" in captions(run_folder, "Epoch by epoch")
    assert "Dev loss" not in sections["Epoch by epoch"].html


def test_one_evaluation_cannot_show_overfitting(run_folder: Path) -> None:
    metrics = run_folder / "metrics.jsonl"
    metrics.write_text(next(line for line in metrics.read_text().splitlines(keepends=True) if "dev_loss" in line))
    assert "One evaluation is too few to see overfitting" in captions(run_folder, "Epoch by epoch")


def test_a_dev_loss_that_falls_to_the_end_is_no_overfitting(run_folder: Path) -> None:
    metrics = run_folder / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace('"dev_loss": 0.6,', '"dev_loss": 0.5,'))
    assert "No overfitting seen: the dev loss is lowest after the last epoch." in captions(run_folder, "Epoch by epoch")


def test_a_task_chooses_its_sections_and_adds_its_own(run_folder: Path) -> None:
    def spans(record: RunRecord) -> Section:
        return Section(title="Spans & gaps", html=html_table(["Kind", "Found"], [["exact", 1_234], ["in part", 0.5]]))

    write_report(run_folder, sections=(spans, repeat_section))
    page = Page((run_folder / "report.html").read_text(encoding="utf-8"))
    assert "Spans & gaps" in page.text
    assert "1,234" in page.text
    assert "0.500" in page.text
    assert "Label by label" not in page.text


def test_what_cannot_be_written_is_one_clear_error(run_folder: Path) -> None:
    (run_folder / "plots").write_text("in the way")
    with pytest.raises(DataError, match="a file of this name is in the way"):
        write_report(run_folder)
    assert not (run_folder / "report.html").exists()


def test_label_names_a_font_lacks_give_way_to_ids() -> None:
    from unmask.reporting.plots import confusion_matrix_plot

    axes = confusion_matrix_plot(["긍정", "good"], [[1, 0], [0, 1]]).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1"]
    axes = confusion_matrix_plot(["bad", "good"], [[1, 0], [0, 1]]).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["bad", "good"]


@pytest.mark.parametrize("names", [["$$", "$5_$10"], ["$", "a"], ["$x^", "$"], [r"\$", r"$\frac$"]])
def test_dollars_in_names_are_no_mathematics(names: list[str]) -> None:
    from unmask.reporting.plots import confusion_matrix_plot, layer_changes_plot, to_png, to_svg

    figure = confusion_matrix_plot(names, [[1, 0], [2, 3]])
    assert to_png(figure).startswith(b"\x89PNG")
    svg = to_svg(figure, name="matrix")
    for name in names:
        assert svg.count(f">{name}</text>") == 2, name  # on both axes, letter by letter
    assert to_png(layer_changes_plot({f"models/{name}": [(1.0, 2.0), (2.0, 3.0)] for name in names}))


@pytest.mark.parametrize("size", [2, 17])
def test_a_confusion_matrix_is_drawn_in_shapes_as_the_page_lets_no_image_in(size: int) -> None:
    from unmask.reporting.plots import confusion_matrix_plot, to_svg

    names = [f"tag {number}" for number in range(size)]
    matrix = [[9_999 * (row == column) + (column == 0) for column in range(size)] for row in range(size)]
    figure = confusion_matrix_plot(names, matrix)
    assert "<image" not in to_svg(figure, name="matrix")
    assert len(figure.axes[0].patches) == sum(count > 0 for row in matrix for count in row)
    [shown] = re.findall(r"<figure[^>]*>", render_page(title="", kind="", summary="", sections=[plotted(figure)]))
    assert ("wide" in shown) == (size == 17)


def plotted(figure: Any) -> Section:
    return Section(title="Plot", plots=(Plot("plot", figure, "how to read it"),))


def test_the_scatter_of_scores_is_shown_and_stays_light(run_folder: Path) -> None:
    from unmask.reporting.regression import scores_section

    (run_folder / "predictions_dev.jsonl").write_text(
        "".join(json.dumps({"score": number % 7, "predicted": number / 9_001}) + "\n" for number in range(9_001))
    )
    section = scores_section(RunRecord.read(run_folder))
    assert section is not None
    [plot] = section.plots
    [points] = plot.figure.axes[0].collections
    assert len(points.get_offsets()) == 2_251
    assert (plot.caption or "").endswith("One text in 4 is drawn.")
    page = render_page(title="", kind="", summary="", sections=[section])
    assert "<figure>" in page
    assert "<image" not in page


def test_counts_stand_on_whole_numbers() -> None:
    from unmask.reporting.plots import lengths_plot

    for histogram in ([(6, 14), (7, 11), (8, 15), (9, 15), (10, 9)], [(24, 1)], [(5, 2), (400, 1)]):
        axes = lengths_plot(histogram).axes[0]
        assert all(tick == int(tick) for tick in axes.get_yticks())
        assert axes.get_ylim()[1] > max(count for _, count in histogram)


@pytest.mark.parametrize(("epochs", "ticks"), [([1], [1]), ([3], [3]), ([1, 2, 3], [1, 2, 3]), ([0.5, 1, 1.5], [1])])
def test_epochs_stand_on_whole_numbers(epochs: list[float], ticks: list[int]) -> None:
    from unmask.reporting.plots import epoch_loss_plot, epoch_scores_plot, seed_scores_plot

    entries = [{"epoch": epoch, "train_loss": 0.7, "dev_loss": 0.6, "dev_f1": 0.5} for epoch in epochs]
    for figure in (
        epoch_loss_plot(entries, overfitting_epoch=None),
        epoch_scores_plot(entries, names={"F1": "dev_f1"}, best_epoch=epochs[0]),
        seed_scores_plot({"seed 0": [(epoch, 0.5) for epoch in epochs]}, title="", kept="seed 0", best_epoch=epochs[0]),
    ):
        axes = figure.axes[0]
        low, high = axes.get_xlim()
        assert [tick for tick in axes.get_xticks() if low <= tick <= high] == ticks


def test_lengths_of_one_value_stand_on_a_whole_number() -> None:
    from unmask.reporting.plots import lengths_plot

    axes = lengths_plot([(6, 40)]).axes[0]
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [6]


def test_a_file_of_two_names_is_listed_once(run_folder: Path) -> None:
    file = run_folder / "evaluation.json"
    [entry] = json.loads(file.read_text())
    other = entry | {"metrics": {name: score / 2 for name, score in entry["metrics"].items()}}
    names = ("test.tsv", "/data/test.tsv", "/data/dev.tsv")
    entries = [entry | {"data": name} for name in names] + [other | {"data": "/other/test.tsv"}]
    file.write_text(json.dumps(entries))
    html = made_sections(run_folder)["File by file"].html
    assert re.findall(r"<td>([^<]*\.tsv)</td>", html) == ["test.tsv", "/data/dev.tsv", "/other/test.tsv"]


def test_settings_of_other_tasks_are_left_out(run_folder: Path) -> None:
    config = json.loads((run_folder / "config.json").read_text())
    options = {"max_query_length": 64, "score_range": None, "tag_scheme": None, "class_weights": None, "lora_rank": 8}
    shown = {}
    for task in ("classification", "regression", "pretraining"):
        (run_folder / "config.json").write_text(json.dumps(config | options | {"task": task}))
        html = repeat_section(RunRecord.read(run_folder)).html
        shown[task] = {name for name in options if f"<dt>{name}</dt>" in html}
    assert shown == {
        "classification": {"class_weights", "lora_rank"},
        "regression": {"score_range", "lora_rank"},
        "pretraining": set(options),
    }


def test_a_part_that_was_tuned_stands_beside_the_whole(run_folder: Path) -> None:
    assert "Beside full tuning" not in made_sections(run_folder)
    config = json.loads((run_folder / "config.json").read_text())
    for name, size in (("adapter", 893_607), ("model", 91_800_000)):
        (run_folder / name).mkdir()
        (run_folder / name / "weights").write_bytes(bytes(size))
    (run_folder / "config.json").write_text(
        json.dumps(config | {"num_trainable": 25, "num_total": 10_000, "output_dir": "runs/my lora"})
    )
    html = made_sections(run_folder)["Beside full tuning"].html
    assert "<td>25</td><td>all</td>" in html
    assert "<td>0.25%</td><td>100%</td>" in html
    assert "<td>adapter 0.9 MB</td><td>model 91.8 MB</td>" in html
    assert "unmask compare FULL &#x27;runs/my lora&#x27;" in html
    (run_folder / "config.json").write_text(json.dumps(config | {"num_trainable": 7, "num_total": 7}))
    assert "Beside full tuning" not in made_sections(run_folder)


def test_the_header_names_a_search(run_folder: Path) -> None:
    trial = {"number": 0, "settings": {"epochs": 1}, "scores": {"mcc": 0.5}, "score": 0.5, "best_epoch": 1}
    trial |= {"seconds": 1.0, "state": "complete", "error": None, "reports": {}}
    search = {"metric": "mcc", "trials": [trial], "best": 0, "importances": {}, "note": "", "next_command": ""}
    assert "classification report " in Page(write_report(run_folder).read_text(encoding="utf-8")).text
    (run_folder / "search.json").write_text(json.dumps(search))
    text = Page(write_report(run_folder).read_text(encoding="utf-8")).text
    assert "classification report, best trial of a search" in text


@pytest.mark.parametrize(
    ("piece", "first", "last"),
    [
        ("one two thr", "one two", "two thr"),
        (" two thr", " two", "two thr"),
        ("글자", "글자", "글자"),
        ("one two ", "one two", "two "),
    ],
)
def test_pieces_of_texts_are_cut_to_whole_words(piece: str, first: str, last: str) -> None:
    from unmask.reporting.sections import first_words, last_words

    assert (first_words(piece), last_words(piece)) == (first, last)


def test_long_names_are_shortened_in_plots() -> None:
    from unmask.reporting.plots import drawable

    assert drawable("a" * 28, "0") == "a" * 28
    assert drawable("a" * 29, "0") == "a" * 27 + "…"
    assert drawable("긍정", "0") == "0"


def test_a_label_of_dollars_has_a_report(run_folder: Path) -> None:
    for name in ("predictions_dev.jsonl", "evaluation.json"):
        file = run_folder / name
        file.write_text(file.read_text().replace("부정", "$$").replace("<b>good</b>", "$5_$10"))
    text = Page(write_report(run_folder).read_text(encoding="utf-8")).text
    assert "Always answering “$5_$10”" in text
    assert (run_folder / "plots" / "confusion_matrix.png").is_file()


def test_errors_in_the_unit_of_the_labels_share_no_axis_with_correlations(run_folder: Path) -> None:
    metrics = run_folder / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace("dev_accuracy", "dev_mae"))
    section = made_sections(run_folder)["Epoch by epoch"]
    [scores] = [plot for plot in section.plots if plot.name == "epoch_scores"]
    assert [text.get_text() for text in scores.figure.axes[0].texts] == ["MCC"]
    assert "<th>Mean error</th>" in section.html


def test_the_page_calls_examples_what_the_task_calls_them(run_folder: Path) -> None:
    """Windows of a long text are more than the questions they are of."""
    config = run_folder / "config.json"
    config.write_text(config.read_text().replace('"classification"', '"question-answering"'))
    write_report(run_folder, sections=(headline_section, files_section, texts_section))
    text = " ".join(Page((run_folder / "report.html").read_text(encoding="utf-8")).text.split())
    assert "(13 questions), judged on in.tsv and out.tsv (13 questions)" in text
    assert "Dev questions 13" in text
    assert "File Questions Accuracy" in text
    assert "Set Questions Tokens Tokens each Cut" in text
    assert "Number of questions" in text
    data = run_folder / "data.json"
    data.write_text(data.read_text().replace("[5, 4]", "[5, 9]"))
    write_report(run_folder, sections=(texts_section,))
    text = " ".join(Page((run_folder / "report.html").read_text(encoding="utf-8")).text.split())
    assert "Number of windows" in text
    assert "Set Questions Windows Tokens Tokens each Cut" in text
    assert "train 13 18 110 6.1 1" in text  # 110 / 18
    assert "what two of them share counts twice" in text


@pytest.mark.parametrize("task", sorted(TASKS))
def test_every_score_a_checkpoint_may_be_chosen_by_has_a_name_and_a_meaning(task: str) -> None:
    for metric in TASKS[task].metrics:
        assert score_name(metric)[0].isupper(), metric
        assert score_meaning(metric), metric


def test_names_at_the_top_stay_within_the_axes() -> None:
    from unmask.reporting.plots import epoch_scores_plot

    epochs = [{"epoch": i, "a": 0.97, "b": 0.98, "c": 0.99, "d": 0.2} for i in (1, 2)]
    axes = epoch_scores_plot(epochs, names={name.upper(): name for name in "abcd"}, best_epoch=1).axes[0]
    low, high = axes.get_ylim()
    heights = [(text.xy[1] - low) / (high - low) for text in axes.texts]
    assert max(heights) <= 1.0 + 1e-9
    assert all(upper - lower > 0.079 for lower, upper in pairwise(sorted(heights)))


class TestSeeds:
    """The plot of several seeds."""

    CURVES: ClassVar = {f"seed {seed}": [(1, 0.1 * seed), (2, 0.2 * seed)] for seed in range(6)}

    def test_a_few_have_colours_and_names(self) -> None:
        from unmask.reporting.plots import seed_scores_plot

        few = dict(list(self.CURVES.items())[:4])
        axes = seed_scores_plot(few, title="F1", kept="seed 3", best_epoch=2).axes[0]
        _, *lines = axes.lines
        assert len({line.get_color() for line in lines}) == 4
        assert [text.get_text() for text in axes.texts] == list(few)

    def test_of_many_the_kept_one_stands_out(self) -> None:
        from unmask.reporting.plots import seed_scores_plot

        axes = seed_scores_plot(self.CURVES, title="F1", kept="seed 4", best_epoch=2).axes[0]
        _, *lines = axes.lines
        assert len({line.get_color() for line in lines}) == 1
        assert [line.get_linewidth() > 2 for line in lines] == [False] * 4 + [True, False]
        assert len(axes.texts) == 0


def test_the_smoothed_loss_is_the_mean_of_the_last_batches() -> None:
    from unmask.reporting.plots import step_loss_plot

    steps = [{"step": i, "epoch": 0, "loss": loss} for i, loss in enumerate([3.0, 1.0, 2.0, 7.0], start=1)]
    _, smoothed = step_loss_plot(steps, window=3).axes[0].lines
    assert list(smoothed.get_ydata()) == pytest.approx([3, 2, 2, 10 / 3])


def test_labels_of_lines_that_end_together_do_not_overlap() -> None:
    from unmask.reporting.plots import epoch_scores_plot

    epochs = [{"epoch": i, "a": 0.5, "b": 0.501, "c": 0.502} for i in (1, 2)]
    axes = epoch_scores_plot(epochs, names={"A": "a", "B": "b", "C": "c"}, best_epoch=1).axes[0]
    low, high = axes.get_ylim()
    heights = sorted((text.xy[1] - low) / (high - low) for text in axes.texts)
    assert all(upper - lower > 0.079 for lower, upper in pairwise(heights))
