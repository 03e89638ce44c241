"""Vocabularies learned from text: layouts, repeatability, streaming, every error.

Run: pytest tests/test_tokenization_training.py.
"""

from __future__ import annotations

import gzip
import json
import tracemalloc
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

import pyarrow
import pyarrow.parquet
import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import models, normalizers, pre_tokenizers, trainers

from unmask.errors import DataError, SettingsError
from unmask.tokenization import Tokenizer
from unmask.tokenization.corpus import find_texts, read_texts
from unmask.tokenization.training import train_on_texts, train_tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from unmask.tokenization.families import FamilyName, Kind

TEXTS = [
    "The cat sat on the mat, and the hat was flat.",
    "A cart carted the carter's cats to the market",
    "That is the fattest rat of the habitat; the other rats chatter.",
] * 5
FAMILIES: tuple[FamilyName, ...] = ("bert", "roberta", "albert", "electra", "gpt")
KINDS: tuple[Kind, ...] = ("wordpiece", "bpe", "unigram")
SIZES = {"wordpiece": 97, "bpe": 311, "unigram": 73}


def train(family: FamilyName = "bert", kind: Kind = "wordpiece", **settings: Any) -> Tokenizer:
    return train_on_texts(TEXTS, family=family, kind=kind, **{"vocab_size": SIZES[kind], **settings})


# Layouts


@pytest.mark.parametrize(
    ("family", "specials"),
    [
        ("bert", ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]),
        ("electra", ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]),
        ("roberta", ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]),
        ("albert", ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]),
        ("gpt", ["<|endoftext|>"]),
    ],
)
def test_special_tokens_have_the_ids_of_their_family(family: FamilyName, specials: list[str]) -> None:
    tokenizer = train_on_texts(TEXTS, family=family, vocab_size=320, special_tokens=["<user>"])
    assert [tokenizer.id_to_token(index) for index in range(len(specials) + 1)] == [*specials, "<user>"]
    assert tokenizer.special_ids == frozenset(range(len(specials) + 1))
    assert tokenizer.encode("the <user> sat", add_special_tokens=False).tokens.count("<user>") == 1
    assert {"wordpiece": models.WordPiece, "bpe": models.BPE, "unigram": models.Unigram}[
        {"bert": "wordpiece", "electra": "wordpiece", "albert": "unigram"}.get(family, "bpe")
    ] is type(tokenizer.backend.model)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("family", "single", "pair", "types"),
    [
        ("bert", "[CLS] A [SEP]", "[CLS] A [SEP] B [SEP]", [0, 0, 0, 1, 1]),
        ("roberta", "<s> A </s>", "<s> A </s> </s> B </s>", [0, 0, 0, 0, 0, 0]),
        ("albert", "[CLS] A [SEP]", "[CLS] A [SEP] B [SEP]", [0, 0, 0, 1, 1]),
        ("gpt", "A", "A B", [0, 0]),  # special tokens and texts; a text may be several tokens
    ],
)
def test_every_kind_has_every_template(
    family: FamilyName, kind: Kind, single: str, pair: str, types: list[int]
) -> None:
    tokenizer = train(family, kind)
    word = " ".join(tokenizer.encode("the", add_special_tokens=False).tokens)
    assert tokenizer.encode("the").tokens == single.replace("A", word).split()
    encoding = tokenizer.encode("the", "the")
    assert encoding.tokens == pair.replace("A", word).replace("B", word).split()
    runs = groupby(zip(encoding.sequence_ids, encoding.token_type_ids, encoding.input_ids, strict=True), lambda t: t[0])
    found = [tokens for owner, run in runs for tokens in ([[*run]] if owner is not None else [[t] for t in run])]
    assert [{token_type for _, token_type, _ in tokens} for tokens in found] == [{token_type} for token_type in types]
    spans = [offset for offset, owner in zip(encoding.offsets, encoding.sequence_ids, strict=True) if owner == 1]
    assert (spans[0][0], spans[-1][1]) == (0, 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_loads_every_combination_to_the_same(tmp_path: Path, family: FamilyName, kind: Kind) -> None:
    from transformers import AutoTokenizer

    ours = train(family, kind, lowercase=True, special_tokens=["<user>"])
    ours.save(tmp_path)
    again, theirs = Tokenizer.from_folder(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    mask = ours.mask_token or "<user>"
    pairs = [
        ("The cats  chatter.", "A RÂT; a hat"),
        (f"a {mask} sat", f"{mask}{mask} b"),
        ("", "x"),
        ("\u4e2d cat", "ﬁ"),
    ]
    for pair in pairs:
        expected = theirs([[*pair]], return_offsets_mapping=True, return_token_type_ids=True)
        encoding = ours.encode(*pair)
        assert encoding == again.encode(*pair)
        assert encoding.input_ids == expected["input_ids"][0]
        assert encoding.offsets == expected["offset_mapping"][0]
        assert encoding.token_type_ids == expected["token_type_ids"][0]
        assert ours.decode(encoding.input_ids) == theirs.decode(expected["input_ids"][0], skip_special_tokens=True)
    assert ("token_type_ids" in theirs("a")) is (family in ("bert", "electra", "albert"))
    for name in ("cls", "sep", "pad", "unk", "mask", "bos", "eos"):
        assert getattr(theirs, f"{name}_token_id") == getattr(ours, f"{name}_token_id"), name
    assert again.fingerprint == ours.fingerprint


def test_a_mask_takes_the_space_before_it_where_pieces_carry_their_own() -> None:
    tokenizer = train_on_texts(TEXTS, family="roberta", vocab_size=330)
    with_mask = tokenizer.encode("The <mask> sat", add_special_tokens=False).input_ids
    assert with_mask == [tokenizer.token_to_id(token) for token in ("The", "<mask>", "Ġsat")]  # and no lone Ġ


# What is learned


def test_wordpiece_learns_what_the_library_learns_and_the_same_each_time() -> None:
    texts = [" ".join(TEXTS)] * 3
    ours = train_on_texts(texts, kind="wordpiece", vocab_size=61, min_frequency=1, lowercase=True, character_coverage=1)
    backend = Backend(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=61, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    characters = {piece for piece in backend.get_vocab() if len(piece.removeprefix("##")) == 1}
    ids = ours.backend.get_vocab()
    assert characters <= ids.keys()
    assert ours.vocab_size == 61
    pieces = sorted(ids, key=ids.__getitem__)
    first, inner = [p for p in characters if p[0] != "#"], [p for p in characters if p[:2] == "##"]
    assert pieces[5 : 5 + len(characters)] == [*sorted(first), *sorted(inner)]
    # "th" of the, that, other; "at" of cat, sat, mat ...: the first merges of any order.
    assert {"th", "##at"} <= set(pieces[5 + len(characters) :][:4])
    assert len(set(pieces) & backend.get_vocab().keys()) >= 55  # ties make the rest, there in any order


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_text_gives_the_same_ids_whatever_its_order(kind: Kind) -> None:
    first = train(kind=kind)
    for _ in range(3):
        assert train(kind=kind).fingerprint == first.fingerprint
    shuffled = train_on_texts(reversed(TEXTS), kind=kind, vocab_size=SIZES[kind])
    assert shuffled.fingerprint == first.fingerprint
    assert shuffled.fingerprint != train(kind=kind, lowercase=True).fingerprint


def test_byte_level_bpe_is_the_librarys() -> None:
    ours = train_on_texts(TEXTS, family="roberta", vocab_size=301)
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=301,
        min_frequency=2,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(TEXTS, trainer)
    assert ours.backend.get_vocab() == backend.get_vocab()
    state, theirs = json.loads(ours.backend.to_str()), json.loads(backend.to_str())
    assert state["model"]["merges"] == theirs["model"]["merges"]
    text = "Ωmega 한국\t🤗  the\n"
    assert ours.decode(ours.encode(text).input_ids) == text


def test_settings_do_what_they_say() -> None:
    assert train(lowercase=True).encode("CAT").tokens == train().encode("cat").tokens
    assert train(strip_accents=True).normalize("É é") == "E e"
    assert train(normalization="nfkc").normalize("ｃａｔ ﬁ") == "cat fi"
    assert train(normalization="nfc").normalize("ｃａｔ e\u0301") == "ｃａｔ é"
    assert train(kind="bpe", normalization="none").normalize("e\u0301") == "e\u0301"
    assert train(family="albert", kind="unigram").normalize("``a''") == '"a"'
    rare = train_on_texts(["ab" * 49, "z z"], kind="wordpiece", vocab_size=20, character_coverage=0.98)
    assert (rare.token_to_id("z"), rare.encode("z").tokens[1]) == (None, "[UNK]")
    assert train_on_texts(["ab" * 49, "z z"], kind="wordpiece", vocab_size=20, character_coverage=0.981).token_to_id(
        "z"
    )
    assert train(min_frequency=10**6).vocab_size < train().vocab_size  # only characters are left


# Text


def test_every_format_gives_the_same_texts(tmp_path: Path) -> None:
    texts = ["first line", "한국어 둘째", "third \u2028 still third"]
    lines = "\n\n".join(texts) + "\n"
    (tmp_path / "a.txt").write_text("\ufeff" + lines.replace("\n", "\r\n"), encoding="utf-8", newline="")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "c.jsonl").write_text("".join(json.dumps({"body": text}) + "\n" for text in texts))
    pyarrow.parquet.write_table(pyarrow.table({"n": [1, 2, 3], "body": texts}), tmp_path / "d.parquet")
    names = ["a.txt", "b.txt.gz", "c.jsonl", "d.parquet"]
    assert list(read_texts(find_texts(names, data_dir=tmp_path), text_column="body")) == texts * 4


def test_text_is_read_as_it_is_needed_and_never_held(tmp_path: Path) -> None:
    class AskedError(RuntimeError):
        pass

    def endless() -> Iterator[str]:
        yield from (f"word{number % 101} cat" for number in range(30_000))
        raise AskedError  # had the texts been collected first, nothing would have been counted before this

    with pytest.raises(AskedError):
        train_on_texts(endless(), vocab_size=200)
    path = tmp_path / "large.txt.gz"
    path.write_bytes(gzip.compress(b"the same words again and again, a line of them\n" * 50_000))  # 2.4 MB
    tracemalloc.start()
    tokenizer = train_tokenizer([path], vocab_size=120)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert tokenizer.encode("the same words").tokens[1:-1] == ["the", "same", "words"]
    assert peak < 1_000_000  # bytes; as a list of lines they are 5 MB
    assert next(islice(read_texts([path]), 1)) == "the same words again and again, a line of them"


# Mistakes


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "wordpieces"}, "kind is 'wordpieces', but must be one of wordpiece, bpe, unigram"),
        ({"family": "t5"}, "family is 't5', but must be one of bert, roberta, albert, electra, gpt"),
        ({"normalization": "nfd"}, "normalization is 'nfd', but must be one of nfc, nfkc, none"),
        ({"vocab_size": 0}, "vocab_size is 0: it must be 1 or more"),
        ({"min_frequency": 0}, "min_frequency is 0: it must be 1 or more"),
        ({"character_coverage": 1.5}, "character_coverage is 1.5: it must be above 0 and at most 1"),
        ({"special_tokens": [" x"]}, "' x' cannot be a special token"),
        ({"vocab_size": 30}, r"vocab_size is 30, and 5 special tokens and \d+ pieces of one character alone need \d\d"),
        (
            {"kind": "bpe", "vocab_size": 260},
            "vocab_size is 260, and 5 special tokens and the 256 bytes alone need 261",
        ),
        ({"kind": "unigram", "vocab_size": 9}, r"vocab_size is 9, and 5 special tokens and \d\d pieces of one"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        train_on_texts(TEXTS, **settings)


def test_the_least_vocabulary_that_is_said_to_be_enough_is(tmp_path: Path) -> None:
    for kind in KINDS:
        with pytest.raises(SettingsError) as caught:
            train(kind=kind, vocab_size=7)
        needed = int(str(caught.value).partition("alone need ")[2].partition(":")[0])
        assert train(kind=kind, vocab_size=needed).vocab_size == needed


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b" \n\n", "there is no text to learn from: every line is blank"),
        ("a.txt", b"good\n\xff\n", r"a\.txt, line 2: byte 1 \(0xff\) is not UTF-8"),
        ("a.txt.gz", b"no gzip", r"a\.txt\.gz: the file cannot be read"),
        ("a.pdf", b"", r"a\.pdf: the name must end in \.txt, \.md, \.jsonl"),
        (
            "a.jsonl",
            b'{"body": "x"}',
            r"a\.jsonl, line 1, column 'text': there is no such column here. The columns are 'b",
        ),
        ("a.jsonl", b'{"text": 3}', r"a\.jsonl, line 1, column 'text': expected text, found 3"),
        ("a.jsonl", b'{"text": "\\ud800"}', r"line 1, column 'text': the text holds a NUL or half of a surrogate"),
        ("a.jsonl", b"text", r"a\.jsonl, line 1: not JSON"),
        ("a.parquet", b"PAR", r"a\.parquet: the file cannot be read"),
    ],
)
def test_bad_text_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        train_tokenizer([tmp_path / name])


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.txt: there is no such file"):
        train_tokenizer([tmp_path / "nowhere.txt"])
    with pytest.raises(DataError, match="this is a folder: name the files in it"):
        train_tokenizer([tmp_path])
    with pytest.raises(SettingsError, match="name at least one file of text"):
        train_tokenizer([])
    pyarrow.parquet.write_table(pyarrow.table({"body": ["x"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet, column 'text': there is no such column. The columns are 'body'"):
        train_tokenizer([tmp_path / "a.parquet"])
