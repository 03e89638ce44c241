"""A vocabulary learned from text: WordPiece, byte-level BPE or Unigram, in any family's layout.

The texts are read once and become counts of distinct words; everything after works on the counts, so memory is that of
the words and not of the text. The merges and likelihoods themselves are the `tokenizers` library's. What is done here
is what it leaves open: the same text gives the same ids each time, and a vocabulary that is too small says so.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from itertools import repeat
from typing import TYPE_CHECKING, Any, Literal

from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from unmask.errors import DataError, SettingsError
from unmask.tokenization.corpus import find_texts, read_texts
from unmask.tokenization.encoding import check_choice
from unmask.tokenization.families import (
    FAMILIES,
    FamilyLayout,
    FamilyName,
    Kind,
    add_special_tokens,
    set_template,
)
from unmask.tokenization.hangul import composing_steps, is_composed
from unmask.tokenization.morphemes import split_morphemes
from unmask.tokenization.sentencepiece import metaspace, quote_steps
from unmask.tokenization.tokenizer import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["Normalization", "train_on_texts", "train_tokenizer"]

Normalization = Literal["nfc", "nfkc", "none"]

_TEXTS_AT_ONCE = 1024  # handed to the library, or to the finder of morphemes, together
_WORDS_AT_ONCE = 4096
_PREFIX = "##"


def train_tokenizer(
    files: Sequence[str | Path],
    *,
    kind: Kind | None = None,
    vocab_size: int = 30_000,
    family: FamilyName = "bert",
    lowercase: bool = False,
    strip_accents: bool = False,
    normalization: Normalization = "nfc",
    special_tokens: Sequence[str] = (),
    min_frequency: int = 2,
    character_coverage: float = 0.9999,
    morphemes: bool = False,
    text_column: str | None = None,
    data_dir: Path | None = None,
) -> Tokenizer:
    """Learn a vocabulary from files of text; `train_on_texts` has the settings, `read_texts` the formats.

    Raises:
        DataError: a file is missing or cannot be read, or there is no text in any.
        SettingsError: as `train_on_texts`.
    """
    return train_on_texts(
        read_texts(find_texts(files, data_dir=data_dir), text_column=text_column),
        kind=kind,
        vocab_size=vocab_size,
        family=family,
        lowercase=lowercase,
        strip_accents=strip_accents,
        normalization=normalization,
        special_tokens=special_tokens,
        min_frequency=min_frequency,
        character_coverage=character_coverage,
        morphemes=morphemes,
    )


def train_on_texts(
    texts: Iterable[str],
    *,
    kind: Kind | None = None,
    vocab_size: int = 30_000,
    family: FamilyName = "bert",
    lowercase: bool = False,
    strip_accents: bool = False,
    normalization: Normalization = "nfc",
    special_tokens: Sequence[str] = (),
    min_frequency: int = 2,
    character_coverage: float = 0.9999,
    morphemes: bool = False,
) -> Tokenizer:
    """Learn a vocabulary from texts.

    Args:
        texts: read once, in order; never held.
        kind: "wordpiece" (Schuster and Nakajima 2012), "bpe" on bytes (Radford et al. 2019), "unigram" (Kudo 2018);
            None is what the family's paper used.
        vocab_size: ids at most, special tokens included; fewer where the text has no more to give.
        family: whose special tokens, their ids, and template.
        lowercase: make letters small.
        strip_accents: take accents off letters; Hangul stays whole.
        normalization: "nfc" composes letters and accents, and the three spellings of Hangul into one; "nfkc" also folds
            full-width and other variants, and takes ㅋ for another letter; "none" takes text as it comes.
        special_tokens: more of them; they get the ids after the family's.
        min_frequency: WordPiece and BPE: how often a pair must occur to be merged; Unigram: how often a word must, to
            be learned from.
        character_coverage: share of the text that known characters make up, in (0, 1]; the rarest are unknown. BPE
            knows every byte, and so every character.
        morphemes: split Korean words into morphemes first, now and whenever the tokenizer is used; see
            `unmask.tokenization.morphemes`.

    Raises:
        SettingsError: a setting is out of range, or vocab_size too small for special tokens and characters.
        DataError: there is no text.
    """
    layout = _check_settings(kind, vocab_size, family, normalization, special_tokens, min_frequency, character_coverage)
    kind = kind or layout.kind
    named = dict(layout.special_tokens)
    if kind != "bpe":
        named.setdefault("unk_token", "<unk>")
    specials = list(dict.fromkeys([*named.values(), *special_tokens]))

    backend = Backend(models.BPE())
    steps = _normalizer_steps(kind, family, lowercase=lowercase, strip_accents=strip_accents, form=normalization)
    backend.pre_tokenizer, decoder = _pre_tokenizer(kind)
    # Composing first, where it is needed, spares the other texts the steps for it.
    is_composing = normalization == "nfc"
    if rest := steps[len(composing_steps()) if is_composing else 0 :]:
        backend.normalizer = normalizers.Sequence(rest)
    counts = _count_words(backend, _prepare(texts, is_composing=is_composing, morphemes=morphemes))
    if not counts:
        raise DataError("there is no text to learn from: every line is blank")

    model = _LEARN[kind](counts, specials, vocab_size, min_frequency, character_coverage)
    tokenizer = Backend(model)
    tokenizer.pre_tokenizer, tokenizer.decoder = backend.pre_tokenizer, decoder
    if steps:
        tokenizer.normalizer = normalizers.Sequence(steps)
    add_special_tokens(tokenizer, {**named, **{token: token for token in special_tokens}}, layout)
    set_template(tokenizer, layout, is_byte_level=kind == "bpe")
    config: dict[str, Any] = dict(named)
    if morphemes:
        config["morphemes"] = True
    return Tokenizer(tokenizer, config)


def _check_settings(
    kind: str | None,
    vocab_size: int,
    family: str,
    normalization: str,
    special_tokens: Sequence[str],
    min_frequency: int,
    character_coverage: float,
) -> FamilyLayout:
    check_choice("family", family, FamilyName)
    if kind is not None:
        check_choice("kind", kind, Kind)
    check_choice("normalization", normalization, Normalization)
    for name, value in (("vocab_size", vocab_size), ("min_frequency", min_frequency)):
        if value < 1:
            raise SettingsError(f"{name} is {value}: it must be 1 or more")
    if not 0 < character_coverage <= 1:
        raise SettingsError(f"character_coverage is {character_coverage}: it must be above 0 and at most 1")
    for token in special_tokens:
        if not token or token != token.strip():
            raise SettingsError(f"{token!r} cannot be a special token: it is empty, or begins or ends with a space")
    return FAMILIES[family]


def _normalizer_steps(
    kind: Kind, family: FamilyName, *, lowercase: bool, strip_accents: bool, form: Normalization
) -> list[normalizers.Normalizer]:
    steps: list[normalizers.Normalizer] = []
    if form == "nfc":
        steps += composing_steps()
    elif form == "nfkc":
        steps.append(normalizers.NFKC())
    if kind == "wordpiece":
        steps.append(normalizers.BertNormalizer(lowercase=lowercase, strip_accents=strip_accents))
    else:
        if family == "albert":
            steps += quote_steps()
        if strip_accents:
            steps += [normalizers.NFD(), normalizers.StripAccents()]
        if lowercase:
            steps.append(normalizers.Lowercase())
    if strip_accents and form != "none":
        steps.append(normalizers.NFC())  # stripping takes Hangul apart, though it has no accents
    return steps


def _pre_tokenizer(kind: Kind) -> tuple[Any, Any]:
    """How a kind cuts text into words, and puts pieces together again."""
    if kind == "wordpiece":
        return pre_tokenizers.BertPreTokenizer(), decoders.WordPiece(prefix=_PREFIX)
    if kind == "bpe":
        return pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return metaspace()


def _prepare(texts: Iterable[str], *, is_composing: bool, morphemes: bool) -> Iterator[list[str]]:
    """Texts in bunches, composed and split where that is asked for."""
    composer = normalizers.Sequence(list(composing_steps()))

    def finish(bunch: list[str]) -> list[str]:
        if is_composing:
            bunch = [text if is_composed(text) else composer.normalize_str(text) for text in bunch]
        return [split.text for split in split_morphemes(bunch)] if morphemes else bunch

    bunch: list[str] = []
    for text in texts:
        bunch.append(text)
        if len(bunch) == _TEXTS_AT_ONCE:
            yield finish(bunch)
            bunch = []
    if bunch:
        yield finish(bunch)


def _count_words(backend: Backend, bunches: Iterable[list[str]]) -> dict[str, int]:
    """Count the words that normalizer and pre-tokenizer make of the texts, most frequent first.

    The library counts, on all cores; this trainer does nothing else, and gives the counts away with its state.
    """
    counter = trainers.WordLevelTrainer(vocab_size=0, show_progress=False)
    counting = Backend(models.WordLevel({}, unk_token=""))
    if backend.normalizer is not None:
        counting.normalizer = backend.normalizer
    counting.pre_tokenizer = backend.pre_tokenizer
    counting.train_from_iterator(bunches, counter)
    words: dict[str, int] = json.loads(counter.__getstate__())["WordLevelTrainer"]["words"]
    return dict(sorted(words.items(), key=lambda item: (-item[1], item[0])))


def _train(model: Any, trainer: Any, counts: Mapping[str, int]) -> dict[str, Any]:
    """Train on counted words and return what tokenizer.json says of the model.

    The library takes texts only, so each word is written out as often as it occurs, a few thousand at a time.
    """

    def texts() -> Iterator[str]:
        for word, count in counts.items():
            for start in range(0, count, _WORDS_AT_ONCE):
                yield " ".join(repeat(word, min(_WORDS_AT_ONCE, count - start)))

    backend = Backend(model)
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.train_from_iterator(texts(), trainer)
    state: dict[str, Any] = json.loads(backend.to_str())["model"]
    return state


def _learn_wordpiece(
    counts: dict[str, int], specials: list[str], vocab_size: int, min_frequency: int, character_coverage: float
) -> models.WordPiece:
    counts = _cover(counts, character_coverage)
    first = sorted({character for word in counts for character in word})
    inner = sorted({_PREFIX + character for word in counts for character in word[1:]})
    _check_room(vocab_size, specials, len({*first, *inner} - {*specials}), character_coverage)
    # Ties between pairs go by id, and the library numbers inner characters in the order of a hash table: other merges
    # each time. Given as special tokens they have their numbers already.
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=list(dict.fromkeys([*specials, *first, *inner])),
        continuing_subword_prefix=_PREFIX,
        show_progress=False,
    )
    unk_token = next(token for token in specials if token in ("[UNK]", "<unk>"))
    vocab = _train(models.WordPiece(unk_token=unk_token), trainer, counts)["vocab"]
    return models.WordPiece(vocab, unk_token=unk_token, continuing_subword_prefix=_PREFIX)


def _learn_bpe(
    counts: dict[str, int], specials: list[str], vocab_size: int, min_frequency: int, character_coverage: float
) -> models.BPE:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    if vocab_size < len(specials) + len(alphabet):
        raise SettingsError(
            f"vocab_size is {vocab_size}, and {len(specials)} special tokens and the {len(alphabet)} bytes alone need "
            f"{len(specials) + len(alphabet)}: give a larger one"
        )
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=specials,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    state = _train(models.BPE(), trainer, counts)
    return models.BPE(state["vocab"], [tuple(merge) for merge in state["merges"]])


def _learn_unigram(
    counts: dict[str, int], specials: list[str], vocab_size: int, min_frequency: int, character_coverage: float
) -> models.Unigram:
    counts = _cover(counts, character_coverage)
    frequent = {word: count for word, count in counts.items() if count >= min_frequency}
    counts = frequent or counts
    characters = {character for word in counts for character in word}
    _check_room(vocab_size, specials, len(characters - {*specials}), character_coverage)
    unk_token = next(token for token in specials if token in ("[UNK]", "<unk>"))
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size, special_tokens=specials, unk_token=unk_token, show_progress=False
    )
    try:
        vocab = _train(models.Unigram(), trainer, counts)["vocab"]
    except Exception as error:
        raise DataError(f"there is too little text to learn Unigram pieces from ({error}): give more") from error
    learned = {piece: score for piece, score in vocab if piece not in specials}
    # Likelihoods are summed on several cores in any order, and characters that lost theirs stand in the order of a hash
    # table just above the lowest score: rounded, and all at the lowest, they are the same each time.
    lowest = min(learned.values())
    for piece, score in learned.items():
        lost = len(piece) == 1 and score < lowest + 1e-4 * (len(characters) + 1)
        learned[piece] = round(lowest if lost else score, 6)
    # The library's pruning stops short of the size where there are few pieces. Characters stay: they spell the rest.
    best = sorted(learned.items(), key=lambda item: (len(item[0]) > 1, -item[1], item[0]))
    ordered = sorted(best[: vocab_size - len(specials)], key=lambda item: (-item[1], item[0]))
    return models.Unigram([*((token, 0.0) for token in specials), *ordered], unk_id=specials.index(unk_token))


_LEARN = {"wordpiece": _learn_wordpiece, "bpe": _learn_bpe, "unigram": _learn_unigram}


def _cover(counts: dict[str, int], character_coverage: float) -> dict[str, int]:
    """Leave out the words with the rarest characters, those beyond the share of text that is to be covered."""
    characters: Counter[str] = Counter()
    for word, count in counts.items():
        for character in word:
            characters[character] += count
    total, covered = characters.total(), 0
    known = set()
    for character, count in sorted(characters.items(), key=lambda item: (-item[1], item[0])):
        if covered >= math.ceil(total * character_coverage):
            break
        known.add(character)
        covered += count
    return {word: count for word, count in counts.items() if known.issuperset(word)}


def _check_room(vocab_size: int, specials: Sequence[str], num_characters: int, character_coverage: float) -> None:
    needed = len(specials) + num_characters
    if vocab_size < needed:
        raise SettingsError(
            f"vocab_size is {vocab_size}, and {len(specials)} special tokens and {num_characters} pieces of one "
            f"character alone need {needed}: give a larger one, or a character_coverage below {character_coverage}"
        )
