"""The embedded acceptability set. Run alone: `.venv/bin/python -m pytest tests/test_data_acceptability.py`."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import matthews_corrcoef

from unmask.data import Table, make_acceptability_set, read_table
from unmask.data.acceptability import _CHOICE, _NUM_PAIRS, _SLOT, _SPLIT_OF_WORD, _TEMPLATES, _WORDS, _inflect
from unmask.files import sha256_of

if TYPE_CHECKING:
    from pathlib import Path

SIZES = {"train": 4_800, "dev": 600, "test": 600}
PHENOMENA = {"agreement", "reflexives", "argument_structure", "word_order", "questions"}


def words_of(sentence: str) -> list[str]:
    return re.findall(r"\w+", sentence.lower())


# All that splits may share: words with a grammatical job and next to no meaning.
FUNCTION_WORDS = set(
    words_of(
        "are been did has have herself himself is it near of that the themselves there to us was were who will with"
    )
)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Table]:
    paths = make_acceptability_set(tmp_path_factory.mktemp("acceptability"))
    return {split: read_table(path) for split, path in paths.items()}


def labels_of(table: Table) -> np.ndarray:
    return np.array([label == "acceptable" for label in table.column("label")])


def test_sizes_and_balance(tables: dict[str, Table]) -> None:
    assert {split: len(table) for split, table in tables.items()} == SIZES
    for table in tables.values():
        counts = Counter(zip(table.column("phenomenon"), table.column("label"), strict=True))
        assert counts == {
            (phenomenon, label): len(table) // 10
            for phenomenon in PHENOMENA
            for label in ("acceptable", "unacceptable")
        }


def test_no_sentence_occurs_twice(tables: dict[str, Table]) -> None:
    sentences = [sentence.lower() for table in tables.values() for sentence in table.column("sentence")]
    assert len(set(sentences)) == len(sentences)


def test_sentences_are_short_and_well_formed(tables: dict[str, Table]) -> None:
    for table in tables.values():
        for sentence in table.column("sentence"):
            assert re.fullmatch(r"[A-Z][a-z]*( [A-Za-z]+){1,9}[.?]", sentence), sentence


def test_splits_share_function_words_only(tables: dict[str, Table]) -> None:
    words = {
        split: {word for sentence in table.column("sentence") for word in words_of(sentence)}
        for split, table in tables.items()
    }
    for one, other in (("train", "dev"), ("train", "test"), ("dev", "test")):
        assert words[one] & words[other] <= FUNCTION_WORDS


def test_no_form_of_a_word_belongs_to_two_splits() -> None:
    """Stronger than what the sentences show: forms that happen not to occur are apart, too."""
    owners = defaultdict(set)
    for kind, listed in _WORDS.items():
        for i, word in enumerate(listed.split()):
            for ending in (None, "s", "ed"):
                owners[_inflect(word, ending).lower()].add((kind, _SPLIT_OF_WORD[i % 4]))
    assert {form: found for form, found in owners.items() if len(found) > 1} == {}
    assert not owners.keys() & FUNCTION_WORDS


def test_splits_share_no_template() -> None:
    """Not even up to the words that fill it, or the side of the choice that is right."""
    owners = defaultdict(set)
    for templates_of_split in _TEMPLATES.values():
        for split, templates in templates_of_split.items():
            for template in templates.strip().splitlines():
                owners[" ".join(sorted(re.findall(r"\w+", _SLOT.sub(r" \g<kind> ", template))))].add(split)
    assert {template: splits for template, splits in owners.items() if len(splits) > 1} == {}


def test_every_template_has_words_for_many_more_pairs_than_are_drawn() -> None:
    for templates_of_split in _TEMPLATES.values():
        for split, listed in templates_of_split.items():
            templates = listed.strip().splitlines()
            for template in templates:
                for side in ("good", "bad"):
                    slots = {
                        slot["word"]: slot["kind"] for slot in _SLOT.finditer(_CHOICE.sub(rf"\g<{side}>", template))
                    }
                    share = _SPLIT_OF_WORD.count(split) / len(_SPLIT_OF_WORD)
                    num_sentences = math.prod(int(len(_WORDS[kind].split()) * share) for kind in slots.values())
                    assert num_sentences > 2 * _NUM_PAIRS[split] / len(templates), template


def test_the_set_of_a_seed_is_the_same_everywhere(tmp_path: Path) -> None:
    def hashes(folder: str, seed: int) -> list[str]:
        paths = make_acceptability_set(tmp_path / folder, seed=seed)
        assert list(paths) == ["train", "dev", "test"]
        return [sha256_of(path) for path in paths.values()]

    first = hashes("a", 0)
    assert hashes("b", 0) == first
    assert hashes("c", 1) != first
    assert first[2] == "34eacd64e8ca775c46a7695e147b26673e368b7df56149c0020b176054cac9be"


def test_length_does_not_tell_the_label(tables: dict[str, Table]) -> None:
    for table in tables.values():
        counts: Counter[tuple[int, bool]] = Counter()
        for sentence, acceptable in zip(table.column("sentence"), labels_of(table), strict=True):
            counts[len(words_of(sentence)), bool(acceptable)] += 1
        assert all(counts[length, True] == counts[length, False] for length, _ in counts)


def test_no_word_or_pair_of_words_tells_the_label(tables: dict[str, Table]) -> None:
    for table in tables.values():
        counted = CountVectorizer(ngram_range=(1, 2), token_pattern=r"\w+", binary=True)
        presence = counted.fit_transform(table.column("sentence")).toarray()
        centred = presence - presence.mean(axis=0)
        labels = labels_of(table) - 0.5
        mcc = (centred * labels[:, None]).mean(axis=0) / (centred.std(axis=0) * labels.std() + 1e-12)
        strongest = np.abs(mcc).argmax()
        assert abs(mcc[strongest]) < 0.2, counted.get_feature_names_out()[strongest]


def test_words_and_pairs_of_words_together_do_not_tell_the_label(tables: dict[str, Table]) -> None:
    counted = CountVectorizer(ngram_range=(1, 2), token_pattern=r"\w+|[.?]", binary=True)
    train = counted.fit_transform(tables["train"].column("sentence"))
    model = LogisticRegression(max_iter=1_000).fit(train, labels_of(tables["train"]))
    for split in ("dev", "test"):
        predictions = model.predict(counted.transform(tables[split].column("sentence")))
        assert abs(matthews_corrcoef(labels_of(tables[split]), predictions)) < 0.1
