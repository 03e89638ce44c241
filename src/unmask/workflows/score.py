"""Ask a masked language model which sentences it finds likely, without any fine-tuning.

unmask score "The keys are old." "The keys is old." --model M
unmask score --pairs pairs.tsv --model M
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unmask.data import read_table
from unmask.errors import DataError
from unmask.filling import SentenceScore, Variant, score_sentences
from unmask.runtimes import run_steps
from unmask.runtimes.pytorch import TorchRuntime
from unmask.workflows.fill import load_masked_lm
from unmask.workflows.loading import Pretrained

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["JudgedPair", "MinimalPair", "PairScores", "SentenceScore", "read_pairs", "score", "score_pairs"]

# What benchmarks of minimal pairs call their columns: BLiMP (Warstadt et al. 2020, arXiv:1912.00582), and ours.
_COLUMNS = (("sentence_good", "sentence_bad"), ("good", "bad"), ("acceptable", "unacceptable"))
_GROUP_COLUMNS = ("phenomenon", "linguistics_term", "UID")


@dataclass(frozen=True, kw_only=True)
class MinimalPair:
    """Two sentences that differ in one choice.

    Args:
        good: the acceptable one.
        bad: the other.
        group: what the choice is about; "" where that is not known.
    """

    good: str
    bad: str
    group: str = ""


@dataclass(frozen=True, kw_only=True)
class JudgedPair:
    """A pair with the pseudo-log-likelihood of each; it is right where the good one's is higher."""

    pair: MinimalPair
    good_score: float
    bad_score: float

    @property
    def is_right(self) -> bool:
        return self.good_score > self.bad_score


@dataclass(frozen=True, kw_only=True)
class PairScores:
    """How often a model prefers the good sentence.

    Args:
        pairs: in their order.
        variant: what was hidden with a token.
    """

    pairs: tuple[JudgedPair, ...]
    variant: Variant

    @property
    def accuracy(self) -> float:
        """Share of pairs judged right, in [0, 1]; chance is 0.5."""
        return sum(pair.is_right for pair in self.pairs) / len(self.pairs)

    @property
    def by_group(self) -> dict[str, tuple[float, int]]:
        """Accuracy and number of pairs of each group, in the order of the file."""
        groups: dict[str, list[bool]] = {}
        for pair in self.pairs:
            groups.setdefault(pair.pair.group, []).append(pair.is_right)
        return {group: (sum(right) / len(right), len(right)) for group, right in groups.items()}


def score(
    sentences: str | Sequence[str], /, *, model: str | Path | Pretrained, variant: Variant = "word_l2r"
) -> list[SentenceScore]:
    """Score sentences by their pseudo-log-likelihood: the higher, the likelier the model finds them.

    Sentences of different lengths do not compare: each token adds a negative number. Of two that differ in one choice
    the model prefers the higher.

    Args:
        sentences: one or several.
        model: a folder or hub id of a model with a masked LM head, or what `load_masked_lm` made of one.
        variant: what is hidden with a token: nothing else ("original", Salazar et al. 2020), the later pieces of its
            word ("word_l2r", Kauf and Ivanova 2023), or all of them ("whole_word").

    Raises:
        CheckpointError: the model has no masked LM head.
        DataError: a sentence is empty, or longer than the model takes.
        SettingsError: there is no such variant.
    """
    sentences = [sentences] if isinstance(sentences, str) else list(sentences)
    pretrained = model if isinstance(model, Pretrained) else load_masked_lm(model)
    reach = pretrained.max_seq_length
    steps = score_sentences(sentences, pretrained.tokenizer, variant=variant, max_seq_length=reach)
    return run_steps(steps, TorchRuntime(pretrained.model, max_seq_length=reach))


def score_pairs(
    pairs: str | Path | Sequence[MinimalPair],
    /,
    *,
    model: str | Path | Pretrained,
    variant: Variant = "word_l2r",
) -> PairScores:
    """Judge minimal pairs: is the acceptable sentence likelier than the other?

    Args:
        pairs: a file for `read_pairs`, or the pairs.
        model: as in `score`.
        variant: likewise.

    Raises:
        UnmaskError: as `score` and `read_pairs` do; or there is no pair.
    """
    found = read_pairs(pairs) if isinstance(pairs, (str, Path)) else list(pairs)
    if not found:
        raise DataError("there is no pair to judge")
    scores = score([text for pair in found for text in (pair.good, pair.bad)], model=model, variant=variant)
    judged = zip(found, scores[::2], scores[1::2], strict=True)
    return PairScores(
        pairs=tuple(
            JudgedPair(pair=pair, good_score=good.pseudo_log_likelihood, bad_score=bad.pseudo_log_likelihood)
            for pair, good, bad in judged
        ),
        variant=variant,
    )


def read_pairs(path: str | Path) -> list[MinimalPair]:
    """Read minimal pairs of a file with a header: TSV, CSV, JSON lines or Parquet.

    Its columns are sentence_good and sentence_bad, as BLiMP has them, or good and bad, or acceptable and unacceptable;
    and perhaps phenomenon, linguistics_term or UID, by which accuracies are told apart.

    Raises:
        DataError: the file cannot be read, or has no such columns.
    """
    table = read_table(path)
    names = next((pair for pair in _COLUMNS if all(name in table.columns for name in pair)), None)
    if names is None:
        known = "; ".join(" and ".join(pair) for pair in _COLUMNS)
        raise DataError(f"holds no pairs: its columns are {', '.join(table.columns)}, and must be {known}", path=path)
    group = next((name for name in _GROUP_COLUMNS if name in table.columns), None)
    groups = [""] * len(table) if group is None else table.column(group)
    return [
        MinimalPair(good=good, bad=bad, group=of)
        for good, bad, of in zip(*map(table.column, names), groups, strict=True)
    ]
