"""Tagging: words, pieces, windows, schemes and answers, by hand, against tokenizers and against transformers.

Run: pytest tests/test_tasks_tagging.py
"""

from __future__ import annotations

import dataclasses
import json
import random
import unicodedata
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer as Backend
from tokenizers import pre_tokenizers
from torch import nn

from reference import hf_inputs, hf_model, ours_of
from tiny import VOCABULARY
from unmask.data import TaggedSentence, read_tagged
from unmask.data.tagged_sentence import joined_offsets
from unmask.errors import DataError, SettingsError
from unmask.metrics.tag_schemes import convert_tags, read_spans
from unmask.models.outputs import TokenClassifierOutput
from unmask.packing import PaddedBatch
from unmask.ragged import Ragged, offsets_of
from unmask.tasks import Columns, FineTuning, Reading, Tagging, TaskOptions, mean_loss, predict_logits
from unmask.tasks.words import split_characters, split_words
from unmask.tokenization import Tokenizer
from unmask.tokenization.training import train_on_texts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from unmask.packing import PackedBatch
    from unmask.tasks.tagging_pieces import TaggingSamples

PLAIN = TaskOptions(tag_scheme="plain")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    vocab_file = tmp_path_factory.mktemp("vocab") / "vocab.txt"
    vocab_file.write_text("".join(f"{word}\n" for word in VOCABULARY))
    return Tokenizer.from_vocab(vocab_file)


def sentence(words: str | Sequence[str], tags: str | Sequence[str] | None, *, line: int = 1) -> TaggedSentence:
    """Words with their tags, one word a line."""
    words = tuple(words.split(" ") if isinstance(words, str) else words)
    return TaggedSentence(
        words=words,
        tags=None if tags is None else tuple(tags.split() if isinstance(tags, str) else tags),
        text=None,
        offsets=joined_offsets(words),
        source="tags.conll",
        line=line,
        lines=tuple(range(line, line + len(words))),
    )


def characters(text: str, tags: str) -> TaggedSentence:
    """A text whose characters have tags, blanks none."""
    places = [place for place, character in enumerate(text) if character != " "]
    return TaggedSentence(
        words=tuple(text[place] for place in places),
        tags=tuple(tags.split()),
        text=text,
        offsets=tuple((place, place + 1) for place in places),
        source="tags.tsv",
        line=1,
        lines=tuple(range(1, len(places) + 1)),
        by_character=True,
    )


def encode(task: Tagging, tokenizer: Tokenizer, *sentences: TaggedSentence, length: int = 40, **more: Any) -> Any:
    return task.encode(sentences, tokenizer, max_seq_length=length, **more)


def pieces(tokenizer: Tokenizer, samples: TaggingSamples) -> list[str]:
    return [" ".join(tokenizer.id_to_token(i) or "" for i in ids) for ids in samples.input_ids]


def names(task: Tagging, samples: TaggingSamples) -> list[list[str]]:
    """The targets by name."""
    assert samples.targets is not None
    return [[task.labels.names[i] for i in ids] for ids in samples.targets]


def logits_of(task: Tagging, samples: TaggingSamples, tags: Sequence[str], *, sure: float = 3.0) -> Ragged:
    """Logits that answer with a tag at each row, each with the same probability."""
    ids = [task.labels.names.index(tag) for tag in tags]
    values = np.eye(len(task.labels.names), dtype=np.float32)[ids] * sure
    return Ragged(values, offsets_of(task.num_logits(samples)))


# Words of a text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("They drank the pub.", "They drank the pub ."),
        ("“Don't,” she said (twice)...", "“ Do n't , ” she said ( twice ) ..."),
        ("The dog's e-mail can’t cost $3.50, or 1,000!", "The dog 's e-mail ca n’t cost $ 3.50 , or 1,000 !"),
        ("@user saw #now: https://x.org/a?b=1. In the U.S. too", "@user saw #now : https://x.org/a . In the U.S. too"),
        ("나는 학교에서 밥을 먹었다.", "나는 학교에서 밥을 먹었다 ."),
        ("‘서울’은, 3월 1일에", "‘ 서울 ’ 은 , 3월 1일에"),
        ("cafe\u0301 हिन्दी ❤\ufe0f!", "cafe\u0301 हिन्दी ❤\ufe0f !"),
        ("  \t a\u3000b \n", "a b"),
        ("n't 's", "n't ' s"),
        ("ok 👍🏽👍!", "ok 👍🏽👍 !"),
        (" \n", ""),
    ],
)
def test_a_text_is_parted_into_words(text: str, words: str) -> None:
    found = split_words(text)
    expected = words.split(" ") if words else []
    if "https" in text:  # the query of an address stays with it
        expected[expected.index("https://x.org/a")] = "https://x.org/a?b=1"
    assert [text[start:end] for start, end in found] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("한국 은", ["한", "국", "은"]),
        ("\u1112\u1161\u11ab\u1100 ㅋㅋ", ["\u1112\u1161\u11ab", "\u1100", "ㅋ", "ㅋ"]),
        (" e\u0301a\u200db ^^", ["e\u0301", "a\u200d", "b", "^", "^"]),
        ("👍🏽a`", ["👍🏽", "a", "`"]),
        ("  ", []),
    ],
)
def test_a_text_is_parted_into_characters(text: str, expected: list[str]) -> None:
    assert [text[start:end] for start, end in split_characters(text)] == expected


# Pieces and rows


def test_the_first_piece_of_each_word_answers(tokenizer: Tokenizer) -> None:
    examples = [sentence("these dogs sleep", "DET NOUN VERB"), sentence("walking .", "VERB PUNCT", line=5)]
    task = Tagging.for_training(examples, TaskOptions())
    samples = encode(task, tokenizer, *examples)
    assert pieces(tokenizer, samples) == ["[CLS] these dog ##s sleep [SEP]", "[CLS] walk ##ing . [SEP]"]
    assert [rows.tolist() for rows in samples.rows] == [[1, 2, 4], [1, 3]]
    assert names(task, samples) == [["DET", "NOUN", "VERB"], ["VERB", "PUNCT"]]
    assert (samples.windows, samples.num_truncated_texts, samples.token_type_ids.values.sum()) == (None, 0, 0)
    described = task.describe_targets(samples)
    assert described == {"labels": {"DET": 1, "NOUN": 1, "PUNCT": 1, "VERB": 2}}
    assert task.num_logits(samples).tolist() == [3, 2]


def test_a_word_that_leaves_nothing_is_an_unknown_token_and_keeps_its_tag(tokenizer: Tokenizer) -> None:
    example = sentence(["\u200b", "dog", "\x07 \ufeff", "zzz"], "A B C D")
    task = Tagging.for_training([example], TaskOptions())
    samples = encode(task, tokenizer, example)
    assert pieces(tokenizer, samples) == ["[CLS] [UNK] dog [UNK] [UNK] [SEP]"]
    assert samples.rows.values.tolist() == [1, 2, 3, 4]
    [answer] = task.predict([example], samples, logits_of(task, samples, "DCBA"))
    assert (answer.words, answer.tags) == (example.words, ("D", "C", "B", "A"))
    without = dataclasses.replace(example, words=("dog", "\u200b"), tags=("A", "B"), offsets=((0, 3), (4, 5)))
    bare = Tokenizer(Backend.from_str(tokenizer.backend.to_str()))
    bare.unk_token_id = None
    with pytest.raises(DataError, match=r"tags.conll, line 1: the tokenizer leaves nothing of the word '\\u200b'"):
        encode(task, bare, without)


TEXTS = """the cats don't like 3.5 cannot-dos in Seoul, do they ? unbelievable (truly)
서울에서 만난 철수가 학교에 갔다 . 한국은행 총재가 말했다
we cannot be sure that the dogs of the garden run near the river today"""


@pytest.mark.parametrize(
    ("kind", "family"), [("wordpiece", "bert"), ("bpe", "roberta"), ("bpe", "gpt"), ("unigram", "albert")]
)
def test_every_tokenizer_reads_words_as_its_library_reads_split_ones(kind: Any, family: Any) -> None:
    """As `is_pretokenized` does, with `add_prefix_space` where pieces carry their blank."""
    tokenizer = train_on_texts(
        TEXTS.split("\n") * 3, kind=kind, family=family, vocab_size=400 if kind == "bpe" else 130, min_frequency=1
    )
    rng = random.Random(5)
    vocabulary = [*TEXTS.split(), "xylophone", "ｶﾞ", "n't", "학교에서는", "a b"]
    examples = [sentence(rng.choices(vocabulary, k=rng.randrange(1, 12)), None) for _ in range(30)]
    task = Tagging.for_model({0: "A", 1: "B"}, TaskOptions())
    samples = encode(task, tokenizer, *examples, length=400, with_targets=False)
    backend = Backend.from_str(tokenizer.backend.to_str())
    if kind == "bpe":
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    for example, ids, rows in zip(examples, samples.input_ids, samples.rows, strict=True):
        expected = backend.encode(list(example.words), is_pretokenized=True)
        assert ids.tolist() == expected.ids
        assert rows.tolist() == [expected.word_ids.index(word) for word in range(len(example))]


def test_words_with_tags_and_typed_ones_have_the_same_pieces(tokenizer: Tokenizer) -> None:
    task = Tagging.for_model({0: "A", 1: "B"}, TaskOptions())
    typed = task.from_text("These dogs sleep.", source="texts", line=3)
    assert (typed.words, typed.offsets) == (("These", "dogs", "sleep", "."), ((0, 5), (6, 10), (11, 16), (16, 17)))
    samples = encode(task, tokenizer, typed, sentence("These dogs sleep .", None), with_targets=False)
    first, second = samples.input_ids
    assert first.tolist() == second.tolist()
    for text, pair, message in (
        (" \n", None, "texts, line 3: the text is empty, there is no word in it"),
        ("a", "b", "texts, line 3: tagging reads one text at a time"),
    ):
        with pytest.raises(DataError, match=message):
            task.from_text(text, pair, source="texts", line=3)


# Windows


class Shown(nn.Module):
    """Stands in for a model: of each row its token, and how many tokens its window shows before and after it."""

    head = "token-classification"

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, batch: PackedBatch, rows: torch.Tensor) -> TokenClassifierOutput:
        lengths = batch.cu_seqlens.diff().repeat_interleave(batch.cu_seqlens.diff())
        left, right = batch.position_ids - 1, lengths - 2 - batch.position_ids  # of [CLS] and [SEP] none is counted
        answers = torch.stack((batch.input_ids, left, right), 1)[rows].float()
        return TokenClassifierOutput(logits=answers, encoder=None)  # type: ignore[arg-type]


@pytest.mark.parametrize(("length", "stride"), [(9, None), (9, 2), (9, 7), (3, 1), (40, None)])
def test_a_long_sentence_is_stitched_of_the_windows_that_show_most(
    tokenizer: Tokenizer, length: int, stride: int | None
) -> None:
    rng = random.Random(7)
    examples = [
        sentence(rng.choices(["dogs", "run", "walking", "the", ".", "cat"], k=k), ["A"] * k) for k in (1, 30, 4, 11, 23)
    ]
    task = Tagging.for_model({0: "A", 1: "B", 2: "C"}, TaskOptions(doc_stride=stride))
    samples = encode(task, tokenizer, *examples, length=length)
    assert samples.input_ids.lengths.max() <= length
    assert len(samples) == len(examples)
    logits = predict_logits(Shown(), task, samples)
    room, step = length - 2, stride or max(1, (length - 2) // 2)
    for example, own in zip(examples, logits, strict=True):
        words = [tokenizer.encode(word, add_special_tokens=False).input_ids for word in example.words]
        ids = [i for word in words for i in word]
        place, expected = 0, []
        for word in words:
            best: tuple[int, int, int] | None = None
            for start in range(0, max(1, len(ids)), step):
                stop = min(start + room, len(ids))
                if start <= place < stop:
                    left, right = place - start, stop - 1 - place
                    if best is None or min(left, right) > min(best[1:]):
                        best = (word[0], left, right)
                if stop == len(ids):
                    break
            expected.append(best)
            place += len(word)
        assert own.tolist() == [list(map(float, one)) for one in expected if one is not None]
        assert len(own) == len(example)
    # Each word counts once in the loss, however many windows show it.
    objective = FineTuning(task, samples, samples, seed=0)
    assert objective.collate(range(len(examples)), epoch=0).num_targets == (sum(map(len, examples)),)


def test_a_model_too_short_for_a_piece_and_a_stride_beyond_a_window(tokenizer: Tokenizer) -> None:
    task = Tagging.for_model({0: "A", 1: "B"}, TaskOptions(doc_stride=5))
    with pytest.raises(SettingsError, match="max_seq_length is 2: nothing fits beside 2 special tokens"):
        encode(task, tokenizer, sentence("the", "A"), length=2)
    samples = encode(task, tokenizer, sentence("the " * 8 + "dog", ["A"] * 9), length=6)
    assert samples.input_ids.lengths.tolist() == [6, 6, 3]  # it counts as a window's four pieces


# Schemes


SPANS = {
    "bio": "B-LOC I-LOC O B-PER B-LOC I-LOC B-LOC O",
    "iob1": "I-LOC I-LOC O I-PER I-LOC I-LOC B-LOC O",
    "iobes": "B-LOC E-LOC O S-PER B-LOC E-LOC S-LOC O",
    "bilou": "B-LOC L-LOC O U-PER B-LOC L-LOC U-LOC O",
}
WORDS = "the dog run near the house garden ."


@pytest.mark.parametrize("given", [None, "named"])
@pytest.mark.parametrize("scheme", SPANS)
def test_every_scheme_is_learnt_as_bio(tokenizer: Tokenizer, scheme: Any, given: str | None) -> None:
    example = sentence(WORDS, SPANS[scheme])
    task = Tagging.for_training([example], TaskOptions(tag_scheme=scheme if given else None))
    assert task.id2label == {0: "O", 1: "B-LOC", 2: "I-LOC", 3: "B-PER", 4: "I-PER"}
    assert names(task, encode(task, tokenizer, example)) == [SPANS["bio"].split()]
    assert (task.metric_for_best, task.metrics[1:]) == ("f1", ("accuracy", "precision", "recall", "f1", "macro_f1"))
    # What the model remembers makes the same task, which reads files of any scheme.
    again = Tagging.for_model(task.id2label, TaskOptions.of(json.loads(json.dumps(task.memory))))
    assert again.memory == task.memory
    other = sentence(WORDS, SPANS[scheme if given else "iobes"])
    assert names(again, encode(again, tokenizer, other)) == [SPANS["bio"].split()]


@pytest.mark.parametrize("scheme", SPANS)
def test_any_scheme_can_be_learnt(tokenizer: Tokenizer, scheme: Any) -> None:
    example = sentence(WORDS, SPANS["bio"])
    task = Tagging.for_training([example], TaskOptions(label_scheme=scheme))
    samples = encode(task, tokenizer, example)
    assert names(task, samples) == [SPANS[scheme].split()]
    assert len(task.id2label) == 1 + 2 * len({"bio": "BI", "iob1": "IB", "iobes": "BIES", "bilou": "BILU"}[scheme])
    [answer] = task.predict([example], samples, logits_of(task, samples, SPANS[scheme].split()))
    assert [(e.type, e.text) for e in answer.entities or ()] == [
        ("LOC", "the dog"),
        ("PER", "near"),
        ("LOC", "the house"),
        ("LOC", "garden"),
    ]
    again = Tagging.for_model(task.id2label, TaskOptions.of(task.memory))
    assert again.label_scheme == scheme
    assert names(again, encode(again, tokenizer, example)) == [SPANS[scheme].split()]


def test_plain_tags_and_the_score_that_chooses(tokenizer: Tokenizer) -> None:
    example = sentence("the dog run", "DET NOUN VERB")
    task = Tagging.for_training([example], TaskOptions(label_smoothing=0.3))
    assert (task.label_scheme, task.metric_for_best) == (None, "accuracy")
    assert task.metrics == ("loss", "accuracy", "macro_f1")
    assert (Tagging.metric_for_best, Tagging.metrics[1]) == ("f1", "accuracy")  # the class is as it was
    samples = encode(task, tokenizer, example)
    assert task.score([example], samples, logits_of(task, samples, ["DET", "NOUN", "NOUN"])) == {
        "accuracy": pytest.approx(2 / 3),
        "macro_f1": pytest.approx((1 + 2 / 3 + 0) / 3),
    }
    assert task.describe_targets(samples)["no_skill_loss"] == pytest.approx(np.log(3))
    best = mean_loss(task, samples, logits_of(task, samples, ["DET"] * 3, sure=0.0))
    assert best == pytest.approx(np.log(3))


def test_tags_that_are_numbers_get_names(tokenizer: Tokenizer) -> None:
    """As data sets of the hub have them."""
    example = sentence("the dog run", "1 2 0")
    options = TaskOptions(labels=("0=O", "1=B-LOC", "2=I-LOC"))
    task = Tagging.for_training([example], options)
    assert (task.id2label, task.label_scheme) == ({0: "O", 1: "B-LOC", 2: "I-LOC"}, "bio")
    assert task.recorded_labels == ["0=O", "1=B-LOC", "2=I-LOC"]
    samples = encode(task, tokenizer, example)
    assert names(task, samples) == [["B-LOC", "I-LOC", "O"]]
    again = Tagging.for_model(task.id2label, TaskOptions.of(task.memory))
    for tags in ("1 2 0", "B-LOC I-LOC O"):
        assert names(again, encode(again, tokenizer, sentence("the dog run", tags))) == [["B-LOC", "I-LOC", "O"]]
    [answer] = task.predict([example], samples, logits_of(task, samples, ["O", "B-LOC", "O"]))
    line = task.judge(example, answer)
    assert (line["tags"], line["predicted"]) == (["B-LOC", "I-LOC", "O"], ["O", "B-LOC", "O"])
    with pytest.raises(SettingsError, match="labels are O B-LOC I-LOC, which do not mark spans as iobes does"):
        Tagging.for_training([example], dataclasses.replace(options, label_scheme="iobes"))


@pytest.mark.parametrize(
    ("labels", "scheme", "kept"),
    [
        ("O B-PER I-PER", "bio", "B-PER I-PER O"),
        ("O I-PER I-LOC", "iob1", "I-PER I-PER O"),
        ("O B-PER I-PER E-PER S-PER", "iobes", "B-PER E-PER O"),
        ("NOUN VERB O", None, "NOUN VERB O"),
    ],
)
def test_a_model_of_others_is_asked_in_its_own_tags(
    tokenizer: Tokenizer, labels: str, scheme: str | None, kept: str
) -> None:
    task = Tagging.for_model(dict(enumerate(labels.split())), TaskOptions())
    assert (task.label_scheme, task.by_character) == (scheme, False)
    tags = "B-PER I-PER O" if scheme else kept
    assert names(task, encode(task, tokenizer, sentence("the dog run", tags))) == [kept.split()]


# Characters


def test_a_piece_has_the_tag_of_its_first_character(tokenizer: Tokenizer) -> None:
    # pieces: dog ##s | sleep | cat
    example = characters("dogs sleep cat", "B-A I-A I-A O O O O O O B-B B-A I-A")
    task = Tagging.for_training([example], TaskOptions())
    assert task.by_character
    samples = encode(task, tokenizer, example)
    assert pieces(tokenizer, samples) == ["[CLS] dog ##s sleep cat [SEP]"]
    assert samples.rows.values.tolist() == [1, 2, 3, 4]
    assert names(task, samples) == [["B-A", "O", "O", "B-B"]]
    assert samples.unit_rows.values.tolist() == [0, 0, 0, 1, 2, 2, 2, 2, 2, 3, 3, 3]
    logits = logits_of(task, samples, ["B-A", "I-A", "O", "B-A"])
    [answer] = task.predict([example], samples, logits)
    assert " ".join(answer.tags) == "B-A I-A I-A I-A O O O O O B-A I-A I-A"
    assert [(e.type, e.text, e.start, e.end) for e in answer.entities or ()] == [
        ("A", "dogs", 0, 4),
        ("A", "cat", 11, 14),
    ]
    # True: dog, c, at. Of two found none is right.
    assert task.score([example], samples, logits)["f1"] == 0
    assert task.score([example], samples, logits)["accuracy"] == pytest.approx(9 / 12)
    report = task.report([example], samples, logits)
    assert (report["kind"], report["num_examples"], report["num_words"]) == ("tagging", 1, 12)
    assert sum(map(sum, report["confusion_matrix"])) == 12


def test_bytes_of_one_character_and_a_character_of_several_letters() -> None:
    tokenizer = train_on_texts(TEXTS.split("\n"), kind="bpe", family="roberta", vocab_size=262, min_frequency=99)
    task = Tagging.for_model({0: "O", 1: "B-A", 2: "I-A"}, TaskOptions(text_unit="character"))
    text = "가a \u1100\u1161b"
    typed = task.from_text(text, source="texts", line=1)
    samples = encode(task, tokenizer, typed, with_targets=False)
    # blank + three bytes | one | blank + six bytes of two letters, or three of the composed one | one
    [own] = samples.sentences
    assert (own.words, own.by_character) == (("가", "a", "\u1100\u1161", "b"), True)
    assert len(samples.rows.values) == 4
    tokens = [tokenizer.id_to_token(i) for i in samples.input_ids.values[samples.rows.values]]
    assert (tokens[0], tokens[1], tokens[2], tokens[3]) == ("Ġ", "a", "Ġ", "b")
    assert samples.unit_rows.values.tolist() == [0, 1, 2, 3]
    [answer] = task.predict([typed], samples, logits_of(task, samples, ["B-A", "I-A", "B-A", "O"]))
    assert [(e.text, e.start, e.end) for e in answer.entities or ()] == [("가a", 0, 2), ("\u1100\u1161", 3, 5)]


def test_characters_the_tokenizer_drops_go_with_those_before_them(tokenizer: Tokenizer) -> None:
    example = characters("\u200bdog\u200b\u200bs \u200b", "O B-A I-A I-A I-A I-A I-A O")
    task = Tagging.for_training([example], TaskOptions())
    samples = encode(task, tokenizer, example)
    assert pieces(tokenizer, samples) == ["[CLS] dog ##s [UNK] [SEP]"]
    assert samples.unit_rows.values.tolist() == [0, 0, 0, 0, 0, 0, 1, 2]
    assert names(task, samples) == [["O", "I-A", "O"]]


def test_characters_and_words_are_not_mixed_where_they_have_tags(tokenizer: Tokenizer) -> None:
    by_word = Tagging.for_training([sentence("the dog", "A B")], TaskOptions())
    by_character = Tagging.for_training([characters("a b", "A B")], TaskOptions())
    with pytest.raises(
        DataError, match=r"tags.tsv, line 1: the model gives tags to words, and here characters have them"
    ):
        encode(by_word, tokenizer, characters("a b", "A B"))
    with pytest.raises(DataError, match=r"tags.conll, line 1: the model gives tags to characters, and here words have"):
        encode(by_character, tokenizer, sentence("the dog", "A B"))
    samples = encode(by_character, tokenizer, sentence("the dog", None), with_targets=False)
    assert samples.sentences[0].words == tuple("thedog")
    untagged = dataclasses.replace(characters("dogs run.", "A A A A A A A A"), tags=None)
    samples = encode(by_word, tokenizer, untagged, with_targets=False)
    assert samples.sentences[0].words == ("dogs", "run", ".")
    with pytest.raises(SettingsError, match="a model of characters learns spans as bio, not as iobes"):
        Tagging.for_training([characters("a b", "B-A O")], TaskOptions(label_scheme="iobes"))


def test_the_unit_of_a_file_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("서\tB-LC\n울\tI-LC\n\n은\tO\n")
    for unit, text in ((None, "서 울"), ("word", "서 울"), ("character", "서울")):
        first, _ = Tagging.read(path, Reading(options=TaskOptions(text_unit=unit)))
        assert (first.shown_text, first.by_character) == (text, unit == "character")
    path.write_text("## 1\tx\n서\tB-LC\n \tO\n울\tI-LC\n")
    for unit, count in ((None, 2), ("character", 2), ("word", 3)):
        [only] = Tagging.read(path, Reading(options=TaskOptions(text_unit=unit)))
        assert (len(only), only.by_character) == (count, unit != "word")


# Answers


def test_entities_have_offsets_in_the_text_and_the_mean_probability_of_their_words(tokenizer: Tokenizer) -> None:
    example = dataclasses.replace(
        sentence("the dog sleep near house", "B-A I-A O O B-B"),
        text="the dog, sleep near  house",
        offsets=((0, 3), (4, 7), (9, 14), (15, 19), (21, 26)),
    )
    task = Tagging.for_training([example], TaskOptions())
    samples = encode(task, tokenizer, example)
    values = np.log(
        [  # O, B-A, I-A, B-B, I-B
            [0.1, 0.6, 0.1, 0.1, 0.1],
            [0.05, 0.05, 0.8, 0.05, 0.05],
            [0.9, 0.025, 0.025, 0.025, 0.025],
            [0.1, 0.1, 0.5, 0.2, 0.1],
            [0.1, 0.1, 0.1, 0.7, 0.0001],
        ]
    ).astype(np.float32)
    logits = Ragged(values, np.array([0, 5]))
    [answer] = task.predict([example], samples, logits)
    assert answer.tags == ("B-A", "I-A", "O", "I-A", "B-B")
    assert [dataclasses.astuple(entity)[:4] for entity in answer.entities or ()] == [
        ("A", "the dog", 0, 7),
        ("A", "near", 15, 19),
        ("B", "house", 21, 26),
    ]
    assert [entity.score for entity in answer.entities or ()] == pytest.approx([0.7, 0.5, 0.7 / 1.0001], rel=1e-5)
    content = json.loads(json.dumps(answer.to_dict()))
    assert content == answer.to_dict()
    assert list(content) == ["text", "words", "offsets", "tags", "scores", "entities"]
    assert answer.to_cells() == {
        "entities": "the dog (A 0.700), near (A 0.500), house (B 0.700)",
        "text": "the dog, sleep near  house",
    }
    assert task.score([example], samples, logits) == {
        "accuracy": 0.8,
        "precision": pytest.approx(2 / 3),
        "recall": 1.0,
        "f1": pytest.approx(0.8),
        "macro_f1": pytest.approx((2 / 3 + 1) / 2),
    }
    line = task.judge(example, answer)
    assert line["entities"] == [
        {"type": "A", "text": "the dog", "start": 0, "end": 7},
        {"type": "B", "text": "house", "start": 21, "end": 26},
    ]
    assert line["predicted_entities"] == content["entities"]
    assert task.report([example], samples, logits)["num_malformed"] == 1
    scores = Tagging.line_scores([line])
    assert set(scores) == {"accuracy", "f1"}
    plain = Tagging.for_training([sentence("the dog", "DET NOUN")], TaskOptions())
    samples = encode(plain, tokenizer, sentence("the dog", "DET NOUN"))
    [answer] = plain.predict([example], samples, logits_of(plain, samples, ["DET", "DET"]))
    assert (answer.to_cells(), "entities" in answer.to_dict()) == ({"tags": "the/DET dog/DET"}, False)


# Against transformers


def test_logits_and_loss_are_those_of_the_padded_reference(tokenizer: Tokenizer, tmp_path: Path) -> None:
    reference = hf_model(
        "BertForTokenClassification", vocab_size=len(VOCABULARY), num_labels=5, max_position_embeddings=40
    )
    model = ours_of(reference, tmp_path)
    rng = random.Random(3)
    examples = [sentence(WORDS, SPANS["bio"])]
    for count in (1, 19, 6, 11):
        words = rng.choices(["dogs", "walking", "near", "the", "zzz", "\u200b", "."], k=count)
        spans = convert_tags(rng.choices(["B-LOC", "I-LOC", "B-PER", "O"], k=count), "bio", "bio")
        examples.append(sentence(words, spans))
    task = Tagging.for_training(examples, TaskOptions())
    samples = encode(task, tokenizer, *examples)
    logits = predict_logits(model, task, samples)
    rows = samples.input_ids.lengths
    ids, labels = (
        torch.zeros(len(rows), int(rows.max()), dtype=torch.int64),
        torch.full((len(rows), int(rows.max())), -100),
    )
    for row, (own, places, targets) in enumerate(zip(samples.input_ids, samples.rows, samples.targets, strict=True)):
        ids[row, : len(own)] = torch.from_numpy(own.copy())
        labels[row, torch.from_numpy(places.copy())] = torch.from_numpy(targets.copy())
    mask = torch.arange(ids.shape[1]) < torch.from_numpy(rows)[:, None]
    batch = PaddedBatch.of(ids, mask.to(torch.int64), torch.zeros_like(ids))
    with torch.no_grad():
        theirs = reference(**hf_inputs(batch), labels=labels)
    np.testing.assert_allclose(logits.values, theirs.logits[labels != -100].numpy(), rtol=1e-5, atol=1e-5)
    assert mean_loss(task, samples, logits) == pytest.approx(theirs.loss.item(), rel=1e-5)


# What cannot be learnt


def refused(message: str, *examples: TaggedSentence, **options: Any) -> None:
    """Refused when a task is made of the examples."""
    with pytest.raises(DataError) as caught:
        Tagging.for_training(examples, TaskOptions(**options))
    assert message in str(caught.value)


def test_tags_that_teach_nothing_or_cannot_be_meant() -> None:
    refused(
        "tags.conll: every tag is 'O', so there is no span to find: add sentences with spans, or name the column of",
        sentence("a b", "O O"),
        sentence("c", "O"),
    )
    refused(
        "tags.conll, line 9: the tags 'NOUN' and 'Noun' differ in case only",
        sentence("a b", "NOUN X"),
        sentence("c d", "X Noun", line=8),
    )
    refused("tags.conll, line 2: the types 'LOC' and 'Loc' differ in case only", sentence("a b c", "B-LOC I-Loc O"))
    refused(
        "tags.conll, line 3: the tag 'B_PER' is of no scheme that 'B-LOC' is of (bio, iob1, iobes, bilou): correct it, "
        "or say --tag-scheme plain",
        sentence("a b c d", "B-LOC O B_PER I-LOC"),
    )
    refused("the tag 'L-LOC' is of no scheme that 'B-LOC' is of", sentence("a b c d", "B-LOC O E-LOC L-LOC"))
    assert Tagging.for_training([sentence("a b", "B-LOC B_PER")], TaskOptions()).label_scheme is None
    assert Tagging.for_training([sentence("a b c", "B-LOC O B_PER")], PLAIN).metric_for_best == "accuracy"
    with_names = TaskOptions(labels=("NOUN", "Noun"))
    assert Tagging.for_training([sentence("a b", "NOUN Noun")], with_names).id2label == {0: "NOUN", 1: "Noun"}


def test_spans_that_their_scheme_does_not_allow(tokenizer: Tokenizer) -> None:
    good, broken = sentence("a b c", "B-A I-A O"), sentence("a b c", "O I-A O", line=7)
    remedy = "--tag-scheme); --repair-spans reads such tags as conlleval does"

    def problem(train: Sequence[TaggedSentence], *others: TaggedSentence, **options: Any) -> str:
        task = Tagging.for_training(train, TaskOptions(**options))
        with pytest.raises(DataError) as caught:
            encode(task, tokenizer, *(others or train))
        return str(caught.value)

    told = problem([good, broken])
    assert told.startswith("tags.conll, line 8: I-A follows neither B-A nor I-A: correct the tag, or name")
    assert told.endswith(remedy)
    # Alone it could be iob1; beside this training file it cannot.
    assert problem([good], broken) == told
    assert problem([good, broken], tag_scheme="iob1").startswith("tags.conll, line 1: B-A follows no tag of its type")
    assert "line 1: B-A is followed by neither I-A nor E-A" in problem([sentence("a b c", "B-A O S-B")])
    assert "line 7: tag 'X' of word 0 is none of bio's" in problem([good], sentence("a", "X", line=7))
    for task in (
        Tagging.for_training([good, broken], TaskOptions(repair_spans=True)),
        Tagging.for_training([good], TaskOptions(repair_spans=True)),
    ):
        assert names(task, encode(task, tokenizer, broken)) == [["O", "B-A", "O"]]
    [alone] = [Tagging.for_training([broken], TaskOptions())]
    assert names(alone, encode(alone, tokenizer, broken)) == [["O", "B-A", "O"]]


def test_a_tag_that_training_does_not_have(tokenizer: Tokenizer) -> None:
    task = Tagging.for_training([sentence("a b", "B-A O")], TaskOptions())
    assert names(task, encode(task, tokenizer, sentence("a b", "B-A I-A"))) == [["B-A", "I-A"]]  # a tag of a known type
    with pytest.raises(DataError) as caught:
        encode(task, tokenizer, sentence("a", "O", line=1), sentence("a b c", "O O B-C", line=3))
    assert str(caught.value) == (
        "tags.conll, line 5: the tag 'B-C' is not one the model was given to learn (O, B-A, I-A): mend the tag, or add "
        "examples of it to the training file"
    )


def test_a_tag_of_another_unicode_form(tokenizer: Tokenizer) -> None:
    """As macOS writes Hangul: it looks the same, and only its letters are parted."""
    nfd = unicodedata.normalize("NFD", "B-사람")
    parts = (sentence("a b", "B-사람 O"), sentence("a b", f"O {nfd}", line=3))
    refused("line 4: the tags 'B-사람' and 'B-", *parts)
    refused("differ in Unicode form only: bring both to NFC, or name both with", *parts)
    task = Tagging.for_training([sentence("a b", "B-사람 O")], TaskOptions())
    with pytest.raises(DataError, match="'B-사람' is alike after Unicode normalization: bring both to NFC"):
        encode(task, tokenizer, sentence("a b", f"O {nfd}"))


def test_many_tags_are_not_all_listed(tokenizer: Tokenizer) -> None:
    tags = [f"T{number:03}" for number in range(240)]
    task = Tagging.for_training([sentence(" ".join("a" * len(tags)), " ".join(tags))], TaskOptions())
    with pytest.raises(DataError) as caught:
        encode(task, tokenizer, sentence("a", "X"))
    assert "(T000, T001, T002, T003, T004, T005, T006, T007, T008, T009, 230 more): mend the tag" in str(caught.value)
    assert task.summary(pairs=False).endswith("one of 240 tags: " + ", ".join(tags[:10]) + ", 230 more.")


def test_columns_that_tagging_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("a x O\n")
    for reading, message in (
        (Reading(columns=Columns(text_pair="2")), "tagging reads one text at a time: leave text_pair_column out"),
        (Reading(column_names=("a", "b")), "columns of tagged files are named by their numbers"),
        (Reading(split="test"), "split is 'test', and a file of tags has no parts: leave it out"),
    ):
        with pytest.raises(SettingsError, match=message):
            Tagging.read(path, reading)
    [only] = Tagging.read(path, Reading(columns=Columns(text="2", label="1")))
    assert (only.words, only.tags) == (("x",), ("a",))
    for name, value, rule in (
        ("text_unit", "line", "it must be word or character"),
        ("tag_scheme", "bmes", "it must be bio, iob1, iobes, bilou or plain"),
        ("label_scheme", "plain", "it must be one of bio, iob1, iobes, bilou"),
    ):
        with pytest.raises(SettingsError, match=f"{name} is '{value}': {rule}"):
            TaskOptions(**{name: value})


# Real files


def test_treebank_and_tweets_are_encoded_as_transformers_encodes_split_words(data_dir: Path, minilm: Path) -> None:
    import transformers

    theirs = transformers.AutoTokenizer.from_pretrained(minilm)
    tokenizer = Tokenizer.from_folder(minilm)
    for path, scheme, count in (
        ("ud_english_ewt/en_ewt-ud-dev.conllu", None, 17),
        ("wnut17/emerging.dev.conll", "bio", 13),
    ):
        examples = Tagging.read(data_dir / path, Reading())[:400]
        task = Tagging.for_training(examples, TaskOptions())
        assert (task.label_scheme, len(task.id2label)) == (scheme, count)
        samples = encode(task, tokenizer, *examples, length=512)
        assert names(task, samples) == [list(example.tags or ()) for example in examples]
        for example, ids, rows in zip(examples, samples.input_ids, samples.rows, strict=True):
            expected = theirs(list(example.words), is_split_into_words=True)
            assert ids.tolist() == expected["input_ids"]
            assert rows.tolist() == [expected.word_to_tokens(word).start for word in range(len(example))]


def test_spans_of_klue_come_through_pieces(data_dir: Path, tmp_path: Path) -> None:
    """Those that begin and end where pieces do are found; "경찰은" is one piece here, and no tag tells its 경찰."""
    lines = (data_dir / "klue" / "klue-ner-v1.1_dev.tsv").read_text(encoding="utf-8").split("\n\n")[:150]
    (tmp_path / "klue.tsv").write_text("\n\n".join(lines), encoding="utf-8")
    examples = read_tagged(tmp_path / "klue.tsv")
    vocab = data_dir / "vocab" / "koelectra-v2" / "vocab.txt"
    tokenizer = Tokenizer.from_vocab(vocab, do_lower_case=False)
    task = Tagging.for_training(examples, TaskOptions())
    assert (task.by_character, len(task.id2label)) == (True, 13)
    samples = encode(task, tokenizer, *examples, length=64)
    assert len(samples.input_ids) > len(samples)  # some in windows
    assert samples.targets is not None
    right = [task.labels.names[i] for i in samples.targets.values]
    scores = task.score(examples, samples, logits_of(task, samples, right))
    told, total = 0, 0
    for example in examples:
        tokens = tokenizer.encode(example.shown_text, add_special_tokens=False).offsets
        starts, ends = {start for start, _ in tokens}, {end for _, end in tokens}
        for _, first, stop in read_spans(example.tags or (), "bio"):
            told += example.offsets[first][0] in starts and example.offsets[stop - 1][1] in ends
            total += 1
    assert scores["recall"] == pytest.approx(told / total)
    assert 0.7 < scores["recall"] < 0.9
    assert scores["accuracy"] > 0.98
