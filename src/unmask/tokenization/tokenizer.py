"""One tokenizer for every family: what differs between them is in their files, not in this code.

The `tokenizers` library does the work; this class loads and saves Hugging Face's files, finds the special tokens, and
counts what truncation cuts.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer as Backend
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer

from unmask.errors import CheckpointError, DataError, SettingsError
from unmask.files import write_json, write_text
from unmask.tokenization.bytelevel import build_bpe
from unmask.tokenization.encoding import (
    BatchEncoding,
    Encoding,
    Padding,
    Truncation,
    check_choice,
    pad,
    truncate,
)
from unmask.tokenization.hangul import ComposedText, composing_state, is_composed
from unmask.tokenization.morphemes import SplitText, split_morphemes
from unmask.tokenization.sentencepiece import build_albert
from unmask.tokenization.wordpiece import build_wordpiece

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Tokenizer"]

# The names a special token goes by where the files do not say: BERT's first, then RoBERTa's, then GPT's.
_USUAL_NAMES = {
    "bos_token": ("<s>", "<|endoftext|>"),
    "eos_token": ("</s>", "<|endoftext|>"),
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"),
    "pad_token": ("[PAD]", "<pad>"),
    "unk_token": ("[UNK]", "<unk>"),
    "mask_token": ("[MASK]", "<mask>"),
}
# Keys of tokenizer_config.json, and what BERT's normalizer calls them.
_NORMALIZER_SETTINGS = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
_WORDPIECE_NAMES = ("cls_token", "sep_token", "pad_token", "unk_token", "mask_token")  # what a vocab.txt must have
_UNLIMITED = 10**9  # Hugging Face writes 1e30 where a tokenizer states no limit


class Tokenizer:
    """Text to ids and back.

    It holds no state but what its files say, so threads may share one.

    Args:
        backend: a tokenizer of the `tokenizers` library, from now on ours: its truncation and padding are switched off,
            and `config` overrules the settings of a BERT normalizer.
        config: what tokenizer_config.json says; kept, and saved again.
        source: where it comes from, for messages.

    Attributes:
        backend: the same.
        vocab_size: number of ids, added tokens included: the rows an embedding needs.
        model_max_length: the longest input its model takes, in tokens; None where the files do not say. Nothing is cut
            to it unless asked.
        morphemes: whether Korean words are split into morphemes first (`"morphemes": true` in `config`).
        cls_token, sep_token, pad_token, unk_token, mask_token, bos_token, eos_token: None where there is none.
        cls_token_id, sep_token_id, pad_token_id, unk_token_id, mask_token_id, bos_token_id, eos_token_id: likewise.

    Raises:
        CheckpointError: `config` names a special token that the vocabulary lacks.
    """

    def __init__(
        self, backend: Backend, config: Mapping[str, Any] | None = None, *, source: str | Path = "tokenizer"
    ) -> None:
        self.backend = backend
        self._config = dict(config or {})
        backend.no_truncation()
        backend.no_padding()
        try:
            if isinstance(backend.normalizer, BertNormalizer):
                for key in _NORMALIZER_SETTINGS.keys() & self._config.keys():
                    setattr(backend.normalizer, _NORMALIZER_SETTINGS[key], self._config[key])
            max_length = int(self._config.get("model_max_length") or _UNLIMITED)
        except (TypeError, ValueError, OverflowError) as error:
            raise CheckpointError(f"{source}: tokenizer_config.json beside it has a wrong value ({error})") from error
        self.model_max_length: int | None = max_length if max_length < _UNLIMITED else None
        self.morphemes: bool = bool(self._config.get("morphemes"))
        self.vocab_size: int = backend.get_vocab_size(with_added_tokens=True)
        self.cls_token, self.cls_token_id = self._find_special_token("cls_token", source)
        self.sep_token, self.sep_token_id = self._find_special_token("sep_token", source)
        self.pad_token, self.pad_token_id = self._find_special_token("pad_token", source)
        self.unk_token, self.unk_token_id = self._find_special_token("unk_token", source)
        self.mask_token, self.mask_token_id = self._find_special_token("mask_token", source)
        self.bos_token, self.bos_token_id = self._find_special_token("bos_token", source)
        self.eos_token, self.eos_token_id = self._find_special_token("eos_token", source)

    @classmethod
    def from_folder(cls, folder: Path) -> Tokenizer:
        """Load a tokenizer with what the configuration files beside it say.

        Of its files the first of these is read: tokenizer.json; vocab.txt (BERT, ELECTRA); vocab.json and merges.txt
        (GPT, RoBERTa); spiece.model (ALBERT).

        Raises:
            CheckpointError: none of them is there, or a file is corrupt.
        """
        config = _read_json(folder / "tokenizer_config.json")
        for name, token in _read_json(folder / "special_tokens_map.json").items():
            if config.get(name) is None:
                config[name] = token
        tokenizer_file, vocab_file = folder / "tokenizer.json", folder / "vocab.txt"
        if tokenizer_file.is_file():
            try:
                backend = Backend.from_file(str(tokenizer_file))
            except Exception as error:  # the library raises nothing more specific
                raise CheckpointError(f"{tokenizer_file}: not a tokenizer that can be read ({error})") from error
            return cls(backend, config, source=tokenizer_file)
        if vocab_file.is_file():
            return cls._from_vocab(vocab_file, config)
        vocab_file, spiece_file = folder / "vocab.json", folder / "spiece.model"
        if vocab_file.is_file():
            backend, special_tokens = build_bpe(folder, config)
            return cls(backend, {**special_tokens, **config}, source=vocab_file)
        if spiece_file.is_file():
            backend, special_tokens = build_albert(spiece_file, config)
            return cls(backend, {**special_tokens, **config}, source=spiece_file)
        raise CheckpointError(
            f"{folder}: no tokenizer here: it needs a tokenizer.json, a vocab.txt, a vocab.json with its merges.txt, "
            "or a spiece.model"
        )

    @classmethod
    def from_vocab(cls, vocab_file: Path, *, do_lower_case: bool = True) -> Tokenizer:
        """Build BERT's tokenizer from its list of pieces, one per line.

        Args:
            vocab_file: ids are line numbers, from 0.
            do_lower_case: lower-case the text and strip its accents, as the uncased models do. That also takes Hangul
                syllables apart, so a Korean vocabulary wants False.

        Raises:
            CheckpointError: the file is missing, empty, not UTF-8, repeats a piece, or lacks [UNK], [CLS], ...
        """
        return cls._from_vocab(vocab_file, {"do_lower_case": do_lower_case})

    @classmethod
    def _from_vocab(cls, vocab_file: Path, config: dict[str, Any]) -> Tokenizer:
        special_tokens = {name: _content(config.get(name)) or _USUAL_NAMES[name][0] for name in _WORDPIECE_NAMES}
        config = {"tokenizer_class": "BertTokenizer", **config}
        return cls(build_wordpiece(vocab_file, special_tokens), config, source=vocab_file)

    def save(self, folder: Path, *, model_max_length: int | None = None) -> None:
        """Write the files that `from_folder` and `transformers` load to the same ids.

        Args:
            folder: where.
            model_max_length: tokens the model beside it takes; None says what this tokenizer's own files said.

        Raises:
            DataError: the disk is full or read-only.
        """
        special_tokens = {name: token for name in _USUAL_NAMES if (token := getattr(self, name)) is not None}
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            # transformers leaves out what is not named here, token types too.
            "model_input_names": ["input_ids", *["token_type_ids"] * self.has_token_types, "attention_mask"],
            **self._config,
            **special_tokens,
        }
        if isinstance(normalizer := self.backend.normalizer, BertNormalizer):
            # transformers builds a BertTokenizer anew from these, whatever tokenizer.json says.
            config |= {key: getattr(normalizer, attribute) for key, attribute in _NORMALIZER_SETTINGS.items()}
        if isinstance(self.backend.model, WordPiece):
            vocab = self.backend.get_vocab(with_added_tokens=False)
            write_text(folder / "vocab.txt", "".join(f"{piece}\n" for piece in sorted(vocab, key=vocab.__getitem__)))
        write_text(folder / "tokenizer.json", self.backend.to_str(pretty=True))
        write_json(folder / "special_tokens_map.json", special_tokens)
        if model_max_length is not None:
            config["model_max_length"] = model_max_length
        write_json(folder / "tokenizer_config.json", config)

    def with_added_tokens(self, tokens: Sequence[str]) -> Tokenizer:
        """Return a tokenizer that also takes each of these for one token, wherever it stands in a text.

        The new ones get the next ids, in their order, so that a model's embeddings grow at their end. A piece that the
        vocabulary has already keeps its id. Tokens are looked for in the normalized text, and inside words as well:
        "ion" would be found in "nation".

        Raises:
            SettingsError: a token is empty or has spaces at its ends.
        """
        for token in tokens:
            if not token or token != token.strip():
                raise SettingsError(f"{token!r} cannot be a token: it is empty, or begins or ends with a space")
        backend = Backend.from_str(self.backend.to_str())
        backend.add_tokens([token for token in dict.fromkeys(tokens) if backend.token_to_id(token) is None])
        return Tokenizer(backend, self._config)

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """The ids of all special tokens: those with a name, and those the files mark as special."""
        named = {getattr(self, f"{name}_id") for name in _USUAL_NAMES} - {None}
        return frozenset(named | {i for i, token in self.backend.get_added_tokens_decoder().items() if token.special})

    @cached_property
    def has_token_types(self) -> bool:
        """Whether the special tokens around the second text of a pair have another type than those of the first."""
        encoding = self.backend.encode("", "")
        owners = encoding.sequence_ids
        return any(kind for kind, owner in zip(encoding.type_ids, owners, strict=True) if owner is None)

    @cached_property
    def word_starts(self) -> NDArray[np.bool_]:
        """Whether a piece begins a word, bool, (vocab_size,).

        WordPiece marks those that do not (##), byte-level BPE (Ġ) and SentencePiece (▁) those that do; added and
        special tokens are words of their own. GPT-1 marks ends instead, so there every piece counts as a beginning.
        """
        pieces = [self.id_to_token(index) or "" for index in range(self.vocab_size)]
        if isinstance(self.backend.model, WordPiece):
            prefix = self.backend.model.continuing_subword_prefix
            starts = [not piece.startswith(prefix) for piece in pieces]
        else:
            steps = str(json.loads(self.backend.to_str())["pre_tokenizer"])
            mark = "Ġ" if "'ByteLevel'" in steps else "▁" if "'Metaspace'" in steps else ""
            starts = [piece.startswith(mark) for piece in pieces]
        for index in self.backend.get_added_tokens_decoder():
            starts[index] = True
        return np.array(starts, dtype=np.bool_)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of everything that decides which ids a text gets: equal before saving and after loading."""
        content = json.loads(self.backend.to_str())
        if content["model"]["type"] == "Unigram":  # reading a score may change its last bit
            content["model"]["vocab"] = [[piece, round(score, 6)] for piece, score in content["model"]["vocab"]]
        content["morphemes"] = self.morphemes
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def encode(
        self,
        text: str,
        text_pair: str | None = None,
        *,
        max_length: int | None = None,
        truncation: Truncation = "longest_first",
        add_special_tokens: bool = True,
    ) -> Encoding:
        """Encode one text, or a pair as one sequence; see `encode_batch`."""
        return self.encode_batch(
            [text],
            None if text_pair is None else [text_pair],
            max_length=max_length,
            truncation=truncation,
            add_special_tokens=add_special_tokens,
        ).encodings[0]

    def encode_batch(
        self,
        texts: Sequence[str],
        text_pairs: Sequence[str] | None = None,
        *,
        max_length: int | None = None,
        truncation: Truncation = "longest_first",
        padding: Padding = "do_not_pad",
        add_special_tokens: bool = True,
    ) -> BatchEncoding:
        """Encode texts, or pairs of texts, on all cores.

        Args:
            texts: the texts, or the first of each pair.
            text_pairs: the second of each pair.
            max_length: tokens to keep at most, special tokens included; None keeps all.
            truncation: which text of a pair is cut to fit `max_length`.
            padding: fill to the longest of the batch, to `max_length`, or not at all.
            add_special_tokens: add [CLS] and [SEP], or what the family has in their place.

        Raises:
            TypeError: a text is not a str.
            ValueError: the texts and their pairs differ in number.
            SettingsError: the settings contradict one another, or `max_length` has no room for the special tokens.
            DataError: a text holds half a surrogate pair, or `only_first` or `only_second` cannot cut enough.

        Offsets count characters of the texts as they were given, whatever normalizing or splitting did to them.
        """
        check_choice("truncation", truncation, Truncation)
        check_choice("padding", padding, Padding)
        _check_texts("texts", texts)
        if text_pairs is not None:
            _check_texts("text_pairs", text_pairs)
            if len(texts) != len(text_pairs):
                raise ValueError(f"{len(texts)} texts but {len(text_pairs)} text_pairs: each text needs one")
        elif truncation == "only_second":
            raise SettingsError("truncation only_second needs pairs, and there is no second text")
        if max_length is not None and truncation != "do_not_truncate":
            num_special_tokens = self.backend.num_special_tokens_to_add(text_pairs is not None)
            minimum = num_special_tokens if add_special_tokens else 1
            if max_length < minimum:
                raise SettingsError(
                    f"max_length is {max_length}, but must be at least {minimum}"
                    + (", to hold the special tokens" if add_special_tokens else "")
                )

        encodings = self._encode(texts, text_pairs, add_special_tokens=add_special_tokens)
        if max_length is not None:
            encodings = [
                truncate(encoding, max_length, truncation, name=f"text {index}")
                for index, encoding in enumerate(encodings)
            ]
        if padding != "do_not_pad":
            encodings = self._pad(
                encodings, max(map(len, encodings), default=0) if padding == "longest" else max_length
            )
        return BatchEncoding(encodings)

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Join the pieces of `ids` to a text again, as the tokenizer's decoder spaces it."""
        return self.backend.decode(list(ids), skip_special_tokens=skip_special_tokens)

    def token_to_id(self, token: str) -> int | None:
        """Return the id of a piece as the vocabulary spells it, None if it is not there."""
        return self.backend.token_to_id(token)

    def id_to_token(self, token_id: int) -> str | None:
        """Return the piece of an id, None if it is outside the vocabulary."""
        return self.backend.id_to_token(token_id)

    def normalize(self, text: str) -> str:
        """Return the text as the model will see it, before it is cut into words.

        Special tokens written out in the text ("The [MASK] slept") stay as they are.
        """
        if self.backend.normalizer is None:
            return text
        added_tokens = [
            token.content for token in self.backend.get_added_tokens_decoder().values() if not token.normalized
        ]
        if not added_tokens:
            return str(self.backend.normalizer.normalize_str(text))
        pattern = "|".join(map(re.escape, sorted(added_tokens, key=len, reverse=True)))
        parts = re.split(f"({pattern})", text)
        parts[::2] = map(self.backend.normalizer.normalize_str, parts[::2])  # the odd ones are the tokens
        return "".join(parts)

    def _encode(
        self, texts: Sequence[str], text_pairs: Sequence[str] | None, *, add_special_tokens: bool
    ) -> list[Encoding]:
        """Run the backend; where morphemes are split, on the split texts, and bring the offsets back."""
        columns = [texts] if text_pairs is None else [texts, text_pairs]
        split: list[list[SplitText]] = []
        if self.morphemes:
            for name, column in zip(("texts", "text_pairs"), columns, strict=False):
                _check_characters(name, column)
            split = [split_morphemes(column, protected=self._added_tokens_pattern) for column in columns]
            columns = [[text.text for text in column] for column in split]
        inputs = list(columns[0]) if text_pairs is None else list(zip(*columns, strict=True))
        try:
            backend = self.backend_for_composed
            is_plain = backend is self.backend or all(is_composed(text) for column in columns for text in column)
            if not is_plain:
                backend = self.backend
            raw = backend.encode_batch(inputs, add_special_tokens=add_special_tokens)
        except TypeError:
            _check_characters("texts", texts)
            _check_characters("text_pairs", text_pairs or ())
            raise
        encodings = [Encoding.from_backend(encoding) for encoding in raw]
        if not is_plain:
            for encoding, *parts in zip(encodings, *columns, strict=True):
                _move_offsets(encoding, [ComposedText(text).whole_characters for text in parts])
        if split:
            for encoding, *cut in zip(encodings, *split, strict=True):
                _move_offsets(encoding, [text.original_span for text in cut])
        return encodings

    @cached_property
    def backend_for_composed(self) -> Backend:
        """The backend without the first steps of its normalizer, if they only compose Hangul: for composed texts."""
        if self.backend.normalizer is None:
            return self.backend
        composing = composing_state()
        steps = json.loads(self.backend.normalizer.__getstate__()).get("normalizers", [])
        if steps[: len(composing)] != composing:
            return self.backend
        content = json.loads(self.backend.to_str())
        content["normalizer"]["normalizers"] = steps[len(composing) :]
        return Backend.from_str(json.dumps(content))

    @cached_property
    def _added_tokens_pattern(self) -> re.Pattern[str] | None:
        tokens = sorted((t.content for t in self.backend.get_added_tokens_decoder().values()), key=len, reverse=True)
        return re.compile("|".join(map(re.escape, tokens))) if tokens else None

    def _pad(self, encodings: list[Encoding], length: int | None) -> list[Encoding]:
        if length is None:
            raise SettingsError("padding max_length needs a max_length")
        if self.pad_token is None or self.pad_token_id is None:
            raise SettingsError("this tokenizer has no padding token: use padding do_not_pad")
        return [pad(encoding, length, self.pad_token, self.pad_token_id) for encoding in encodings]

    def _find_special_token(self, name: str, source: str | Path) -> tuple[str | None, int | None]:
        token = _content(self._config.get(name))
        if token is None:
            token = next((usual for usual in _USUAL_NAMES[name] if self.token_to_id(usual) is not None), None)
            return token, None if token is None else self.token_to_id(token)
        if self.token_to_id(token) is None:
            raise CheckpointError(f"{source}: the {name} is said to be {token!r}, which the vocabulary lacks")
        return token, self.token_to_id(token)


def _content(token: str | dict[str, Any] | None) -> str | None:
    """Read a special token in either of the forms Hugging Face writes: its text, or an object that holds it."""
    return token.get("content") if isinstance(token, dict) else token


def _read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; a file that is not there is an empty one."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: must hold a JSON object, not a {type(content).__name__}")
    return content


def _check_texts(name: str, texts: Sequence[str]) -> None:
    if isinstance(texts, str):
        raise TypeError(f"{name} must be a sequence of texts, not one str")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"{name}[{index}] must be a str, not {type(text).__name__}")


def _move_offsets(encoding: Encoding, movers: Sequence[Callable[[int, int], tuple[int, int]]]) -> None:
    """Change the offsets of an encoding just made, by a function for each of its texts."""
    encoding.offsets[:] = [
        (start, end) if owner is None else movers[owner](start, end)
        for owner, (start, end) in zip(encoding.sequence_ids, encoding.offsets, strict=True)
    ]


def _check_characters(name: str, texts: Sequence[str]) -> None:
    """Find the text that UTF-8 cannot hold: JSON escapes may bring half of a surrogate pair."""
    for index, text in enumerate(texts):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{name}[{index}], character {error.start}: {text[error.start]!a} is half of a surrogate pair and no "
                "character: repair or remove it"
            ) from error
