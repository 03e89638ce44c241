"""Tag schemes against hand-written spans and seqeval; scores against hand counts, seqeval and scikit-learn."""

from __future__ import annotations

import json
import random
import warnings
from typing import Any

import numpy as np
import pytest

from unmask.errors import DataError
from unmask.metrics import (
    TaggingReport,
    TagSpan,
    convert_tags,
    detect_scheme,
    find_malformed,
    read_spans,
    scheme_of_tags,
    tagging_metrics,
    tagging_report,
    write_spans,
)
from unmask.metrics.tag_schemes import scheme_beside

# two persons side by side, a place of one word
SPANS = [TagSpan("PER", 0, 2), TagSpan("PER", 2, 3), TagSpan("LOC", 4, 5), TagSpan("ORG", 5, 8)]
WRITTEN = {
    "bio": ["B-PER", "I-PER", "B-PER", "O", "B-LOC", "B-ORG", "I-ORG", "I-ORG", "O"],
    "iob1": ["I-PER", "I-PER", "B-PER", "O", "I-LOC", "I-ORG", "I-ORG", "I-ORG", "O"],
    "iobes": ["B-PER", "E-PER", "S-PER", "O", "S-LOC", "B-ORG", "I-ORG", "E-ORG", "O"],
    "bilou": ["B-PER", "L-PER", "U-PER", "O", "U-LOC", "B-ORG", "I-ORG", "L-ORG", "O"],
}
SCHEMES: list[Any] = list(WRITTEN)
LETTERS = {"bio": "BI", "iob1": "BI", "iobes": "BIES", "bilou": "BILU"}


@pytest.mark.parametrize("source", SCHEMES)
@pytest.mark.parametrize("target", SCHEMES)
def test_the_same_spans_in_each_scheme(source: Any, target: Any) -> None:
    assert read_spans(WRITTEN[source], source) == SPANS
    assert write_spans(SPANS, 9, target) == WRITTEN[target]
    assert convert_tags(WRITTEN[source], source, target) == WRITTEN[target]
    assert find_malformed(WRITTEN[source], source) == []


@pytest.mark.parametrize("scheme", SCHEMES)
def test_detects_its_own_scheme(scheme: Any) -> None:
    assert detect_scheme([["O"], WRITTEN[scheme]]) == scheme
    assert scheme_of_tags(WRITTEN[scheme]) == ("bio" if scheme == "iob1" else scheme)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_any_spans_survive_writing_and_reading(scheme: Any) -> None:
    rng = random.Random(7)
    for _ in range(300):
        spans, position = [], 0
        for _ in range(rng.randrange(6)):
            start = position + rng.randrange(3)
            position = start + rng.randrange(1, 5)
            spans.append(TagSpan(rng.choice(["A", "creative-work", "_"]), start, position))
        length = position + rng.randrange(3)
        tags = write_spans(reversed(spans), length, scheme)
        assert read_spans(tags, scheme) == spans
        assert find_malformed(tags, scheme) == []


def test_no_scheme_where_tags_mark_no_spans() -> None:
    assert scheme_of_tags(["NOUN", "VERB", "O"]) is None
    assert scheme_of_tags(["O"]) is None
    assert scheme_of_tags([]) is None
    assert scheme_of_tags(["B-X", "E-X", "L-X"]) is None
    assert scheme_of_tags(["B", "I", "O"]) == "bio"
    assert scheme_of_tags(["INTJ", "B-X"]) is None
    assert detect_scheme([["DET", "NOUN"]]) is None


def test_iob1_is_told_from_bio_with_mistakes() -> None:
    assert detect_scheme([["I-A", "I-A"], ["O", "I-B"]]) == "iob1"
    assert detect_scheme([["I-A", "B-A"]]) == "iob1"
    assert detect_scheme([["O", "B-A"], ["I-A"]]) == "bio"  # iob1 would have no B after O
    assert detect_scheme([["B-A", "I-A"]]) == "bio"


def test_malformed_tags_are_read_as_the_field_reads_them() -> None:
    def spans(tags: str, scheme: Any = "iobes") -> list[tuple[str, int, int]]:
        return [tuple(span) for span in read_spans(tags.split(), scheme)]

    assert spans("O I-A I-A O", "bio") == [("A", 1, 3)]
    assert spans("B-A I-B", "bio") == [("A", 0, 1), ("B", 1, 2)]
    assert spans("B-A O", "iobes") == [("A", 0, 1)]
    assert spans("B-A I-A B-A") == [("A", 0, 2), ("A", 2, 3)]
    assert spans("E-A E-A") == [("A", 0, 1), ("A", 1, 2)]
    assert spans("S-A I-A E-A") == [("A", 0, 1), ("A", 1, 3)]
    assert spans("U-A I-A L-A", "bilou") == [("A", 0, 1), ("A", 1, 3)]
    assert spans("B I O I", "bio") == [("_", 0, 2), ("_", 3, 4)]
    assert spans("", "bio") == []


def test_malformed_tags_are_reported_with_their_position() -> None:
    def positions(tags: str, scheme: Any) -> list[int]:
        return [found.position for found in find_malformed(tags.split(), scheme)]

    assert positions("I-A I-A B-A I-B O I-B", "bio") == [0, 3, 5]
    assert positions("B-A I-A B-A B-B O B-B", "iob1") == [0, 3, 5]
    assert positions("B-A O S-A I-A E-A E-A B-B E-A", "iobes") == [0, 3, 5, 6, 7]
    assert positions("B-A I-A", "bilou") == [1]
    (found,) = find_malformed(["O", "I-PER"], "bio")
    assert found == (1, "I-PER", "I-PER follows neither B-PER nor I-PER")
    (found,) = find_malformed(["B-PER", "O"], "bilou")
    assert found.problem == "B-PER is followed by neither I-PER nor L-PER"
    (found,) = find_malformed(["B-PER"], "iob1")
    assert found.problem == "B-PER follows no tag of its type, so there is nothing to part it from: write I"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_well_formed_is_exactly_what_can_be_written(scheme: Any) -> None:
    """A sequence has no malformed tag if and only if writing its spans gives it back."""
    rng = random.Random(3)
    kinds = ["O", *(f"{letter}-{type_}" for letter in LETTERS[scheme] for type_ in "XY")]
    verdicts = []
    for _ in range(2000):
        tags = rng.choices(kinds, k=rng.randrange(1, 5))
        verdicts.append(convert_tags(tags, scheme, scheme) == tags)
        assert (find_malformed(tags, scheme) == []) == verdicts[-1], tags
    assert 100 < sum(verdicts) < 1900


@pytest.mark.parametrize("tag", ["E-PER", "PER", "B_PER", "", "b-PER", "OO"])
def test_a_tag_of_another_scheme_is_named(tag: str) -> None:
    with pytest.raises(DataError, match=f"tag '{tag}' of word 1 is none of bio's: O, B-TYPE, I-TYPE"):
        read_spans(["O", tag], "bio")


def test_what_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="overlaps"):
        write_spans([TagSpan("A", 0, 2), TagSpan("A", 1, 3)], 4, "bio")
    with pytest.raises(ValueError, match="reaches beyond the 2 words"):
        write_spans([TagSpan("A", 1, 3)], 2, "bio")
    with pytest.raises(ValueError, match="'bioes' is no tag scheme: choose bio, iob1, iobes, bilou"):
        read_spans(["O"], "bioes")  # type: ignore[arg-type]


# --- scores -----------------------------------------------------------------------------------------------------------

TAGS = [["B-PER", "I-PER", "O", "B-LOC", "O"], ["B-LOC", "O", "O"]]
PREDICTIONS = [["B-PER", "O", "O", "B-LOC", "O"], ["B-ORG", "B-LOC", "O"]]
# true: PER 0-2, LOC 3-4 | LOC 0-1; predicted: PER 0-1, LOC 3-4 | ORG 0-1, LOC 1-2; in both: the first LOC


def test_scores_by_hand() -> None:
    scores = tagging_metrics(TAGS, PREDICTIONS, scheme="bio")
    assert scores == pytest.approx(
        {
            "accuracy": 5 / 8,
            "precision": 1 / 4,
            "recall": 1 / 3,
            "f1": 2 / 7,
            "macro_precision": (0 + 1 / 2 + 0) / 3,
            "macro_recall": (0 + 1 / 2 + 0) / 3,
            "macro_f1": (0 + 1 / 2 + 0) / 3,
        }
    )


def test_report_by_hand() -> None:
    report = tagging_report(TAGS, PREDICTIONS, scheme="bio", tag_names=["O", "B-LOC", "B-ORG", "B-PER", "I-PER"])
    loc, org, per = report.types
    assert (loc.name, loc.precision, loc.recall, loc.f1) == ("LOC", 1 / 2, 1 / 2, 1 / 2)
    assert (loc.support, loc.num_predicted, loc.num_correct) == (2, 2, 1)
    assert (org.name, org.precision, org.recall, org.support, org.num_predicted) == ("ORG", 0, 0, 0, 1)
    assert (per.name, per.support, per.num_correct) == ("PER", 1, 0)
    assert report.confusion_matrix == (
        (3, 1, 0, 0, 0),
        (0, 1, 1, 0, 0),
        (0, 0, 0, 0, 0),
        (0, 0, 0, 1, 0),
        (1, 0, 0, 0, 0),
    )
    assert (report.num_sequences, report.num_words, report.num_malformed) == (2, 8, 0)
    assert report.most_frequent.name == "O"
    assert report.most_frequent.recall == 3 / 4


def test_report_counts_malformed_predictions_only() -> None:
    report = tagging_report([["I-A", "O"]], [["I-A", "I-B"]], scheme="bio")
    assert report.num_malformed == 2
    assert report.metrics["precision"] == 1 / 2


def test_tags_without_spans_against_scikit_learn() -> None:
    from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support

    rng = random.Random(5)
    names = ["ADJ", "NOUN", "VERB", "X"]
    lengths = [rng.randrange(1, 9) for _ in range(50)]
    tags = [rng.choices(names[:3], k=length) for length in lengths]
    predictions = [[tag if rng.random() < 0.7 else rng.choice(names[1:]) for tag in sequence] for sequence in tags]
    report = tagging_report(tags, predictions, scheme=None, tag_names=[*names, "never"])
    true, predicted = ([tag for sequence in both for tag in sequence] for both in (tags, predictions))
    assert report.metrics == pytest.approx(
        {"accuracy": accuracy_score(true, predicted), "macro_f1": f1_score(true, predicted, average="macro")}
    )
    expected = precision_recall_fscore_support(true, predicted, labels=names, zero_division=0.0)
    for row, *scores in zip(report.tags, *expected, strict=False):
        assert (row.precision, row.recall, row.f1, row.support) == pytest.approx(tuple(scores))
    assert np.array(report.confusion_matrix)[:4, :4].tolist() == confusion_matrix(true, predicted).tolist()
    assert report.tags[4].support == 0
    assert report.types == ()


@pytest.mark.parametrize("letters", ["BI", "BIES"])
def test_equal_to_seqeval_on_random_tags(letters: str) -> None:
    """500 cases of each kind, most of them malformed: entities, each type's scores, micro, macro and accuracy."""
    seqeval = pytest.importorskip("seqeval.metrics")
    from seqeval.metrics.sequence_labeling import get_entities

    rng = random.Random(11)
    scheme: Any = "bio" if letters == "BI" else "iobes"
    types = ["PER", "LOC", "creative-work"]
    kinds = ["O", *letters, *(f"{letter}-{type_}" for letter in letters for type_ in types)]
    num_found = 0
    for _ in range(500):
        used = rng.sample(kinds, rng.randrange(2, len(kinds) + 1))
        tags = [rng.choices(used, k=rng.randrange(1, 12)) for _ in range(rng.randrange(1, 6))]
        keep = rng.random()
        predictions = [[tag if rng.random() < keep else rng.choice(used) for tag in sequence] for sequence in tags]
        for sequence in tags:
            theirs = [(type_, start, end + 1) for type_, start, end in get_entities(sequence)]
            assert [tuple(span) for span in read_spans(sequence, scheme)] == theirs

        report = tagging_report(tags, predictions, scheme=scheme)
        assert report.metrics["accuracy"] == pytest.approx(seqeval.accuracy_score(tags, predictions))
        if not report.types:
            continue  # seqeval's report fails where there is no span at all
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = seqeval.classification_report(tags, predictions, output_dict=True, zero_division=0)
        num_found += sum(scores.num_correct for scores in report.types)
        for scores in report.types:
            expected = theirs.pop(scores.name)
            assert (scores.precision, scores.recall, scores.f1, scores.support) == pytest.approx(
                (expected["precision"], expected["recall"], expected["f1-score"], expected["support"])
            )
        for average, prefix in (("micro avg", ""), ("macro avg", "macro_")):
            for name, key in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
                assert report.metrics[prefix + name] == pytest.approx(theirs[average][key])
        assert theirs.keys() == {"micro avg", "macro avg", "weighted avg"}
    assert num_found > 1000


def test_bilou_scores_as_the_same_tags_in_iobes() -> None:
    rng = random.Random(13)
    kinds = ["O", *(f"{letter}-{type_}" for letter in "BILU" for type_ in "XY")]
    renamed = str.maketrans("LU", "ES")
    for _ in range(100):
        tags, predictions = ([rng.choices(kinds, k=9)] for _ in range(2))
        as_iobes = [[[tag.translate(renamed) for tag in sequence] for sequence in both] for both in (tags, predictions)]
        assert tagging_metrics(tags, predictions, scheme="bilou") == tagging_metrics(*as_iobes, scheme="iobes")


def test_no_span_anywhere_scores_0_and_no_warning() -> None:
    scores = tagging_metrics([["O", "O"]], [["O", "O"]], scheme="bio")
    assert scores.pop("accuracy") == 1
    assert set(scores.values()) == {0.0}


@pytest.mark.parametrize("scheme", ["bio", None])
def test_report_survives_json(scheme: Any) -> None:
    report = tagging_report(TAGS, PREDICTIONS, scheme=scheme)
    content = {"data": "test.conll", **report.to_dict()}
    assert TaggingReport.from_dict(json.loads(json.dumps(content))) == report


@pytest.mark.parametrize(("scheme", "shown_name"), [("bio", "LOC"), (None, "B-LOC")])
def test_table_shows_types_or_tags(scheme: Any, shown_name: str) -> None:
    from rich.console import Console

    console = Console(width=120)
    with console.capture() as capture:
        console.print(tagging_report(TAGS, PREDICTIONS, scheme=scheme).to_table())
    shown = capture.get()
    assert f" {shown_name} " in shown
    assert "accuracy 0.625" in shown


def test_what_cannot_be_scored() -> None:
    with pytest.raises(ValueError, match="2 sequences of tags and 1 predictions"):
        tagging_metrics([["O"], ["O"]], [["O"]], scheme="bio")
    with pytest.raises(ValueError, match="sequence 1 has 2 tags and 1 predictions"):
        tagging_metrics([["O"], ["O", "O"]], [["O"], ["O"]], scheme="bio")
    with pytest.raises(ValueError, match="no tags: there is nothing to score"):
        tagging_metrics([[]], [[]], scheme="bio")
    with pytest.raises(ValueError, match="tag 'X' is not one of the 1 tag names"):
        tagging_report([["X"]], [["O"]], scheme=None, tag_names=["O"])


def test_the_scheme_of_a_file_beside_the_training_file() -> None:
    assert scheme_beside(None, "iobes") == "iobes"
    assert scheme_beside("iob1", "bio") == "bio"
    assert scheme_beside("bio", "iob1") == "iob1"
    assert scheme_beside("iobes", "bio") == "iobes"
    assert scheme_beside("iob1", None) == "iob1"
    assert scheme_beside(None, None) is None
