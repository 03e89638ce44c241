"""Real vocabularies as their papers published them, against transformers on real text; and what a tokenizer tells.

Run: pytest tests/test_tokenization_vocabularies.py.
"""

from __future__ import annotations

import gzip
import json
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest

from unmask.errors import CheckpointError, SettingsError
from unmask.tokenization import Tokenizer
from unmask.tokenization.sentencepiece import SentencePieceModel
from unmask.tokenization.training import train_on_texts
from unmask.workflows.loading import load_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from unmask.tokenization.families import FamilyName


@pytest.fixture(scope="module")
def vocabularies(data_dir: Path) -> Path:
    return data_dir / "vocab"


@pytest.fixture(scope="module")
def real_lines(data_dir: Path) -> list[str]:
    lines: list[str] = []
    for name in ("wiki_en", "docs_en", "books_part_03"):
        with gzip.open(data_dir / "text_en" / f"{name}.txt.gz", "rt", encoding="utf-8") as file:
            lines += [line.rstrip("\n")[:400] for line in islice(file, 350) if line.strip()]
    return [*lines, "한국어 ｆｕｌｌ ﬁ ½ É ``quoted'' \t two  spaces 🤗", ""]


def transformers_twin(folder: Path, name: str) -> Any:
    import transformers

    if name != "albert":
        return {"gpt2": transformers.GPT2Tokenizer, "roberta-base": transformers.RobertaTokenizer}[
            name
        ].from_pretrained(folder)
    model = SentencePieceModel.read(folder / "spiece.model")  # theirs needs the sentencepiece package to read it
    return transformers.AlbertTokenizer(vocab=model.pieces, _spm_precompiled_charsmap=model.replacements)


@pytest.mark.parametrize("name", ["gpt2", "roberta-base", "albert"])
def test_published_vocabularies_give_the_ids_of_transformers(
    vocabularies: Path, real_lines: list[str], name: str
) -> None:
    ours, theirs = load_tokenizer(vocabularies / name), transformers_twin(vocabularies / name, name)
    assert len(real_lines) > 1000
    expected = theirs(real_lines, return_offsets_mapping=True)
    batch = ours.encode_batch(real_lines)
    assert batch.input_ids == expected["input_ids"]
    assert [encoding.offsets for encoding in batch.encodings] == expected["offset_mapping"]
    pairs = real_lines[:41], real_lines[53:94]
    assert ours.encode_batch(*pairs).input_ids == theirs(*pairs)["input_ids"]
    for special in ("cls", "sep", "pad", "unk", "mask", "bos", "eos"):
        assert getattr(ours, f"{special}_token_id") == getattr(theirs, f"{special}_token_id"), special


@pytest.mark.parametrize(
    ("name", "text", "ids"),
    [
        ("gpt2", "Hello world", [15496, 995]),
        ("roberta-base", "Hello world", [0, 31414, 232, 2]),
        ("roberta-base", "Hello <mask>", [0, 31414, 50264, 2]),
        ("albert", "Hello world", [2, 10975, 126, 3]),
    ],
)
def test_known_ids(vocabularies: Path, name: str, text: str, ids: list[int]) -> None:
    assert load_tokenizer(vocabularies / name).encode(text).input_ids == ids


def test_the_pieces_of_albert_are_those_of_its_list(vocabularies: Path) -> None:
    model = SentencePieceModel.read(vocabularies / "albert" / "spiece.model")
    listed = [line.split("\t") for line in (vocabularies / "albert" / "30k-clean.vocab").read_text().splitlines()]
    assert [piece for piece, _ in model.pieces] == [piece for piece, _ in listed]
    assert [score for _, score in model.pieces] == pytest.approx([float(score) for _, score in listed], abs=5.1e-5)
    cased = Tokenizer.from_folder(vocabularies / "albert")
    assert cased.token_to_id("[MASK]") == 4
    assert cased.encode("the [MASK] sat").input_ids[2] == 4


@pytest.mark.parametrize("name", ["gpt2", "roberta-base", "albert"])
def test_they_are_saved_as_transformers_loads_them(tmp_path: Path, vocabularies: Path, name: str) -> None:
    from transformers import AutoTokenizer

    ours = load_tokenizer(vocabularies / name)
    ours.save(tmp_path)
    theirs, again = AutoTokenizer.from_pretrained(tmp_path), load_tokenizer(tmp_path)
    for text in ("Hello wörld,  it's", "a <mask> b [MASK] <|endoftext|>"):
        assert theirs(text)["input_ids"] == ours.encode(text).input_ids == again.encode(text).input_ids
    assert again.fingerprint == ours.fingerprint


def test_gpt1_is_known_by_the_ends_of_its_words(tmp_path: Path) -> None:
    from transformers import OpenAIGPTTokenizer

    pieces = ["<unk>", "c", "a", "t</w>", "s</w>", "t", "at</w>", "cat</w>", ".</w>", "at", "cat"]
    (tmp_path / "vocab.json").write_text(json.dumps({piece: index for index, piece in enumerate(pieces)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\na t</w>\nc at</w>\na t\nc at\n")
    ours, theirs = Tokenizer.from_folder(tmp_path), OpenAIGPTTokenizer.from_pretrained(tmp_path)
    for text in ("Cat cats. ca", "xylophone"):
        assert ours.encode(text).input_ids == theirs(text)["input_ids"]
    assert ours.decode(ours.encode("Cat cats.").input_ids) == "cat cats ."
    assert ours.word_starts.all()


# Which family it is


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"config.json": '{"model_type": "roberta"}'}, ["<s>", "a", "</s>"]),
        ({"config.json": '{"model_type": "gpt2"}'}, ["a"]),
        ({"tokenizer_config.json": '{"tokenizer_class": "GPT2TokenizerFast"}'}, ["a"]),
        ({}, ["<s>", "a", "</s>"]),
    ],
)
def test_the_family_is_told_by_what_stands_beside(tmp_path: Path, files: dict[str, str], expected: list[str]) -> None:
    vocab = ["<s>", "<pad>", "</s>", "<unk>", "a", "<mask>", "<|endoftext|>"]
    (tmp_path / "vocab.json").write_text(json.dumps({piece: index for index, piece in enumerate(vocab)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert Tokenizer.from_folder(tmp_path).encode("a").tokens == expected


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"vocab.json": "{"}, r"vocab\.json: cannot be read"),
        ({"vocab.json": "[]"}, r"vocab\.json: must hold a JSON object, not a list"),
        ({"vocab.json": '{"a": 1}'}, r"vocab\.json: not a vocabulary: its ids must be 0 to 0, each once"),
        ({"vocab.json": '{"a": 0}'}, r"merges\.txt: cannot be read as merges .*; it belongs beside vocab\.json"),
        ({"vocab.json": '{"a": 0}', "merges.txt": "a b c\n"}, r"merges\.txt, line 1: 'a b c' is not two pieces"),
        ({"vocab.json": '{"a": 0}', "merges.txt": ""}, r"neither <s> nor <\|endoftext\|> is in the vocabulary"),
        (
            {"vocab.json": '{"a": 0}', "merges.txt": "", "config.json": '{"model_type": "roberta"}'},
            r"vocab\.json: the vocabulary lacks <s>, <pad>, </s>, <unk>, <mask>, so it is not a roberta vocabulary",
        ),
        (
            {"vocab.json": '{"<|endoftext|>": 0}', "merges.txt": "x y\n"},
            r"merges\.txt: does not belong to the vocabulary beside it",
        ),
        ({"spiece.model": "text"}, r"spiece\.model: not a SentencePiece model, or cut short"),
        ({"spiece.model": ""}, r"spiece\.model: a SentencePiece model without pieces"),
        ({"spiece.model": "\n\x03\n\x01a"}, r"spiece\.model: the pieces lack <pad>, <unk>, .*so this is not ALBERT's"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(CheckpointError, match=message):
        Tokenizer.from_folder(tmp_path)


def test_a_cut_spiece_model_is_named(tmp_path: Path, vocabularies: Path) -> None:
    content = (vocabularies / "albert" / "spiece.model").read_bytes()
    (tmp_path / "spiece.model").write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="cut short"):
        Tokenizer.from_folder(tmp_path)


# What a tokenizer tells


@pytest.mark.parametrize(
    ("family", "starts", "goes_on"),
    [
        ("bert", ["the", "t", ",", "[MASK]"], ["##at"]),
        ("roberta", ["Ġthe", "<mask>"], ["at"]),
        ("albert", ["▁", "[MASK]"], ["t"]),
    ],
)
def test_where_words_start(family: FamilyName, starts: list[str], goes_on: list[str]) -> None:
    tokenizer = train_on_texts(["the cat, the hat at the mat that the rat sat at"] * 9, family=family, vocab_size=290)
    tokenizer = tokenizer.with_added_tokens(["hackathon"])
    assert tokenizer.word_starts.shape == (tokenizer.vocab_size,)
    for pieces, expected in ((starts, True), (goes_on, False), (["hackathon"], True)):
        for piece in pieces:
            token_id = tokenizer.token_to_id(piece)
            assert token_id is not None, piece
            assert tokenizer.word_starts[token_id] == expected, piece


def test_bos_and_eos() -> None:
    train: Callable[[FamilyName], Tokenizer] = lambda family: train_on_texts(["a b"] * 3, family=family, vocab_size=270)  # noqa: E731
    assert (train("bert").bos_token, train("bert").eos_token_id) == (None, None)
    assert (train("roberta").bos_token, train("roberta").eos_token_id) == ("<s>", 2)
    assert (train("albert").bos_token, train("albert").eos_token) == ("[CLS]", "[SEP]")
    assert (train("gpt").bos_token_id, train("gpt").eos_token) == (0, "<|endoftext|>")
    assert train("gpt").cls_token is train("gpt").mask_token is None


def test_added_tokens(minilm: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = Tokenizer.from_folder(minilm)
    added = tokenizer.with_added_tokens(["hackathon", "코로나", "hackathon", "team"])
    assert (tokenizer.vocab_size, added.vocab_size) == (30522, 30524)  # team is a piece already
    assert (added.token_to_id("hackathon"), added.token_to_id("코로나")) == (30522, 30523)
    assert tokenizer.token_to_id("hackathon") is None
    assert added.encode("Our Hackathon team").tokens == ["[CLS]", "our", "hackathon", "team", "[SEP]"]
    assert added.encode("Our Hackathon team").offsets[2] == (4, 13)
    assert added.special_ids == tokenizer.special_ids == {0, 100, 101, 102, 103}
    assert added.fingerprint != tokenizer.fingerprint
    assert added.model_max_length == tokenizer.model_max_length
    added.save(tmp_path)
    assert Tokenizer.from_folder(tmp_path).encode("a hackathon").input_ids == added.encode("a hackathon").input_ids
    assert AutoTokenizer.from_pretrained(tmp_path)("a hackathon")["input_ids"] == added.encode("a hackathon").input_ids
    for wrong in ("", " x"):
        with pytest.raises(SettingsError, match="cannot be a token: it is empty, or begins or ends with a space"):
            tokenizer.with_added_tokens([wrong])
