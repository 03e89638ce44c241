"""The tokenizers of GPT-2, RoBERTa and GPT-1, built from their two files: vocab.json and merges.txt."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, pre_tokenizers

from unmask.errors import CheckpointError
from unmask.tokenization.families import FAMILIES, add_special_tokens, set_template

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["build_bpe"]


def build_bpe(folder: Path, config: Mapping[str, Any]) -> tuple[Backend, dict[str, str]]:
    """Build the tokenizer whose vocab.json and merges.txt are in a folder.

    Which family's it is says config.json (`model_type`), else `tokenizer_class`, else the special tokens of the
    vocabulary: <s> is RoBERTa's, <|endoftext|> GPT-2's. GPT-1 marks where words end (`</w>`) and knows no bytes.

    Args:
        folder: holds the two files.
        config: what tokenizer_config.json says.

    Returns:
        The backend and its special tokens by name.

    Raises:
        CheckpointError: a file is missing or corrupt, or the family cannot be told.
    """
    vocab_file, merges_file = folder / "vocab.json", folder / "merges.txt"
    vocab, merges = _read_vocab(vocab_file), _read_merges(merges_file)
    family = _family(folder, config, vocab)
    if family == "openai-gpt":
        return _build_gpt1(vocab, merges)
    layout = FAMILIES[family]
    special_tokens = dict(layout.special_tokens)
    if family == "gpt":
        special_tokens["unk_token"] = special_tokens["eos_token"]
    if missing := [token for token in dict.fromkeys(special_tokens.values()) if token not in vocab]:
        raise CheckpointError(
            f"{vocab_file}: the vocabulary lacks {', '.join(missing)}, so it is not a {family} vocabulary"
        )
    backend = Backend(_make_model(vocab, merges, merges_file))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=bool(config.get("add_prefix_space")))
    backend.decoder = decoders.ByteLevel()
    if family == "roberta":  # GPT-2 has no template, and leaves the space a piece carries in its offsets
        set_template(backend, layout, is_byte_level=True)
    add_special_tokens(backend, special_tokens, layout)
    return backend, special_tokens


def _build_gpt1(vocab: dict[str, int], merges: list[tuple[str, str]]) -> tuple[Backend, dict[str, str]]:
    unk_token = "<unk>"
    backend = Backend(models.BPE(vocab, merges, end_of_word_suffix="</w>", unk_token=unk_token))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.BPEDecoder(suffix="</w>")
    backend.add_special_tokens([unk_token])
    return backend, {"unk_token": unk_token}


def _make_model(vocab: dict[str, int], merges: list[tuple[str, str]], merges_file: Path) -> models.BPE:
    try:
        return models.BPE(vocab, merges)
    except Exception as error:  # the library raises nothing more specific
        raise CheckpointError(f"{merges_file}: does not belong to the vocabulary beside it ({error})") from error


def _family(folder: Path, config: Mapping[str, Any], vocab: Mapping[str, int]) -> str:
    named = str(_read_object(folder / "config.json").get("model_type") if (folder / "config.json").is_file() else "")
    for name in (named, str(config.get("tokenizer_class", "")).lower()):
        if "roberta" in name:
            return "roberta"
        if "openai" in name:
            return "openai-gpt"
        if "gpt2" in name:
            return "gpt"
    if "<s>" in vocab and "</s>" in vocab:
        return "roberta"
    if "<|endoftext|>" in vocab:
        return "gpt"
    if any(piece.endswith("</w>") for piece in vocab):
        return "openai-gpt"
    raise CheckpointError(
        f"{folder / 'vocab.json'}: neither <s> nor <|endoftext|> is in the vocabulary, and no config.json tells its "
        'family: write one that says {"model_type": "roberta"} or "gpt2"'
    )


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: must hold a JSON object, not a {type(content).__name__}")
    return content


def _read_vocab(path: Path) -> dict[str, int]:
    vocab = _read_object(path)
    if sorted(vocab.values(), key=str) != sorted(range(len(vocab)), key=str):
        raise CheckpointError(f"{path}: not a vocabulary: its ids must be 0 to {len(vocab) - 1}, each once")
    return vocab


def _read_merges(path: Path) -> list[tuple[str, str]]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: cannot be read as merges ({error}); it belongs beside vocab.json") from error
    merges = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or (number == 1 and line.startswith("#version")):
            continue
        first, space, second = line.rstrip("\r").partition(" ")
        if not space or not first or not second or " " in second:
            raise CheckpointError(f"{path}, line {number}: {line!r} is not two pieces with a space between")
        merges.append((first, second))
    return merges
