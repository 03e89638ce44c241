"""What a pretraining run would feed its model, measured and shown before an hour is spent on it.

Everything is counted on batches as training gets them, not computed from the settings; where the two disagree by more
than chance allows, a remark says so.

Axes: T tokens of packed sequences, M rows to guess, S tokens of one sequence.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from rich.console import Group
    from rich.table import Table

    from unmask.pretraining.masking import Masking
    from unmask.pretraining.objective import Pretraining
    from unmask.tokenization import Tokenizer

__all__ = ["Example", "SelfCheck", "Target", "render_self_check", "self_check", "show_examples"]

IGNORED = -100  # the label of a token that is not to be guessed, as Hugging Face's models have it

_MASKED, _RANDOM, _KEPT = "masked", "random", "kept"
_MARKS = {_MASKED: ("", ""), _RANDOM: ("<", ">"), _KEPT: ("=", "=")}
_NUM_BINS = 10
_MIN_EFFICIENCY = 0.97
_MAX_WITHOUT_TARGETS = 0.05
_MAX_SHOWN = 12  # targets of an example, in a terminal
_DEVIATIONS = 5.0  # standard errors from the setting that are put down to chance


@dataclass(frozen=True, kw_only=True)
class Target:
    """One token to guess.

    Args:
        position: of the row that guesses it in its sequence, from 0.
        seen: the token the model sees there.
        expected: the token to guess: the one that stood there; for clm, the next one.
        label: its id.
    """

    position: int
    seen: str
    expected: str
    label: int


@dataclass(frozen=True, kw_only=True)
class Example:
    """One sequence, for a person to read.

    Args:
        original: as the corpus has it, special tokens included.
        seen: as the model sees it. Chosen tokens that were replaced by a random one are <marked> so, those that stay
            as they are =marked= so.
        targets: what is to be guessed.
        labels: the same for each token, (S,); -100 where nothing is to be guessed.
        input_ids: as the model sees them, (S,).
        pair_label: what is to be said of the two texts, in words; None where nothing is.
    """

    original: str
    seen: str
    targets: tuple[Target, ...]
    labels: tuple[int, ...]
    input_ids: tuple[int, ...]
    pair_label: str | None


@dataclass(frozen=True, kw_only=True)
class SelfCheck:
    """What was measured.

    Args:
        objective: name of what is learnt at tokens.
        pair_objective: name of what is learnt of pairs; None for nothing.
        num_sequences: sequences an epoch.
        num_samples: samples an epoch, as the training loop counts them: packs, or sequences where there are no packs.
        tokens_per_epoch: tokens of all sequences of an epoch at most, special ones included.
        num_cut_sentences: sentences that were longer than a sequence, and are parted.
        measured_sequences: sequences that the figures below are measured on.
        measured_tokens: their tokens.
        special_rate: fraction of these that are special tokens.
        mask_rate: fraction of the other tokens that is to be guessed; None where nothing is masked (clm).
        mask_token_rate: fraction of the chosen tokens that are seen as [MASK]; None likewise.
        random_token_rate: fraction that are seen as another token; None likewise.
        kept_rate: fraction that are seen as they are, by choice or because the random token is the same one.
        num_targets: tokens to guess.
        pair_rates: fraction of the pairs with each label, by its words; empty without a pair objective.
        num_unpaired: sequences of one text where there should be pairs.
        length_bins: upper bounds of the bins of the histogram, in tokens, special ones included; the last is the
            longest sequence.
        length_counts: sequences of an epoch in each bin.
        mean_length: tokens of a sequence.
        token_budget: tokens of a sample at most; None where samples are single sequences.
        packing_efficiency: real tokens of a sample by the budget, as a fraction; None likewise.
        examples: sequences to read.
        remarks: what differs from the settings, or wastes time; empty if all is well.
    """

    objective: str
    pair_objective: str | None
    num_sequences: int
    num_samples: int
    tokens_per_epoch: int
    num_cut_sentences: int
    measured_sequences: int
    measured_tokens: int
    special_rate: float
    mask_rate: float | None
    mask_token_rate: float | None
    random_token_rate: float | None
    kept_rate: float | None
    num_targets: int
    pair_rates: dict[str, float]
    num_unpaired: int
    length_bins: tuple[int, ...]
    length_counts: tuple[int, ...]
    mean_length: float
    token_budget: int | None
    packing_efficiency: float | None
    examples: tuple[Example, ...]
    remarks: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class _Counts:
    """One entry for each measured sequence, int64."""

    tokens: NDArray[np.int64]
    special: NDArray[np.int64]
    targets: NDArray[np.int64]
    masked: NDArray[np.int64]
    kept: NDArray[np.int64]
    pair_labels: NDArray[np.int64]
    tokens_of_samples: NDArray[np.int64]  # one for each sample


def self_check(
    pretraining: Pretraining,
    tokenizer: Tokenizer,
    *,
    num_samples: int = 512,
    num_examples: int = 3,
    token_budget: int | None = None,
) -> SelfCheck:
    """Measure the first epoch's batches. A pure function of the objective: nothing of a run is changed.

    Args:
        pretraining: what is to be trained.
        tokenizer: of its text.
        num_samples: sequences to measure at least, or all there are; with packs, as many packs as hold them.
        num_examples: sequences to decode.
        token_budget: what the packs were filled up to; None takes the fullest for full.
    """
    counts = _count(pretraining, num_samples)
    masking: Masking | None = getattr(pretraining.tokens, "masking", None)
    num_targets = int(counts.targets.sum())
    num_masked, num_kept = int(counts.masked.sum()), int(counts.kept.sum())
    chosen = max(num_targets, 1)
    is_pair = counts.pair_labels >= 0
    pair_rates = {}
    if pretraining.pairs is not None:
        pair_rates = {
            name: float((counts.pair_labels[is_pair] == label).mean()) if is_pair.any() else 0.0
            for label, name in enumerate(pretraining.pairs.label_names)
        }
    lengths = pretraining.train.lengths
    bins, bin_counts = _histogram(lengths)
    efficiency = None
    if pretraining.packs is None:
        token_budget = None
    else:
        token_budget = token_budget or max(int(lengths[pack].sum()) for pack in pretraining.packs)
        efficiency = float(counts.tokens_of_samples.mean() / token_budget)
    num_examples = min(num_examples, len(pretraining.train))
    places = np.linspace(0, len(pretraining.train) - 1, num_examples).astype(np.int64)  # from all over the text
    return SelfCheck(
        objective=pretraining.tokens.name,
        pair_objective=None if pretraining.pairs is None else pretraining.pairs.name,
        num_sequences=len(pretraining.train),
        num_samples=pretraining.num_samples,
        tokens_per_epoch=int(lengths.sum()),
        num_cut_sentences=pretraining.train.num_cut_sentences,
        measured_sequences=len(counts.tokens),
        measured_tokens=int(counts.tokens.sum()),
        special_rate=float(counts.special.sum() / counts.tokens.sum()),
        mask_rate=None if masking is None else num_targets / max(int((counts.tokens - counts.special).sum()), 1),
        mask_token_rate=None if masking is None else num_masked / chosen,
        random_token_rate=None if masking is None else (num_targets - num_masked - num_kept) / chosen,
        kept_rate=None if masking is None else num_kept / chosen,
        num_targets=num_targets,
        pair_rates=pair_rates,
        num_unpaired=int((~is_pair).sum()) if pretraining.pairs is not None else 0,
        length_bins=bins,
        length_counts=bin_counts,
        mean_length=float(lengths.mean()),
        token_budget=token_budget,
        packing_efficiency=efficiency,
        examples=tuple(show_examples(pretraining, tokenizer, places, epoch=0)),
        remarks=tuple(_remarks(counts, masking, pair_rates, token_budget)),
    )


def show_examples(
    pretraining: Pretraining, tokenizer: Tokenizer, indices: Sequence[int] | NDArray[np.int64], *, epoch: int
) -> list[Example]:
    """Decode training sequences and what is to be guessed of them.

    Args:
        pretraining: the objective.
        tokenizer: of its text.
        indices: of sequences of `pretraining.train`.
        epoch: masks and pairs of which epoch.
    """
    is_shifted = getattr(pretraining.tokens, "masking", None) is None  # clm: a row guesses the token after it
    examples = []
    for index in indices:
        batch, run = pretraining.make_batch(pretraining.train, np.array([index]), epoch=epoch)
        seen = batch.inputs.input_ids.numpy()
        positions, targets = batch.positions.numpy(), batch.labels.numpy()
        labels = np.full(len(seen), IGNORED)
        labels[positions] = targets
        pair = int(run.pair_labels[0])
        examples.append(
            Example(
                original=tokenizer.decode(run.input_ids.tolist(), skip_special_tokens=False),
                seen=_mark(tokenizer, seen, np.full_like(labels, IGNORED) if is_shifted else labels),
                targets=tuple(
                    Target(
                        position=int(position),
                        seen=_piece(tokenizer, int(seen[position])),
                        expected=_piece(tokenizer, int(label)),
                        label=int(label),
                    )
                    for position, label in zip(positions, targets, strict=True)
                ),
                labels=tuple(labels.tolist()),
                input_ids=tuple(seen.tolist()),
                pair_label=None if pretraining.pairs is None or pair < 0 else pretraining.pairs.label_names[pair],
            )
        )
    return examples


def render_self_check(check: SelfCheck) -> Group:
    """Lay out a check for a terminal: figures, lengths, examples, remarks."""
    from rich.console import Group
    from rich.text import Text

    parts: list[Table | Text] = [_figures(check), _lengths(check), *map(_example, check.examples)]
    parts += [Text(f"Note: {remark}", style="yellow") for remark in check.remarks]
    return Group(*parts)


def _count(pretraining: Pretraining, num_sequences: int) -> _Counts:
    """Count what is in the first samples that hold `num_sequences` sequences, or else in all."""
    columns: dict[str, list[NDArray[np.int64]]] = {}
    tokens_of_samples = []
    mask_token_id = getattr(pretraining.tokens, "mask_token_id", None)
    for indices in _samples(pretraining, num_sequences):
        batch, run = pretraining.make_batch(pretraining.train, indices, epoch=0)
        positions, labels = batch.positions.numpy(), batch.labels.numpy()
        seen = batch.inputs.input_ids.numpy()[positions]
        sequence_of, count = run.sequence_of, len(run.lengths)
        is_masked = seen == mask_token_id
        for name, places in (
            ("special", sequence_of[run.is_special]),
            ("targets", sequence_of[positions]),
            ("masked", sequence_of[positions[is_masked]]),
            ("kept", sequence_of[positions[~is_masked & (seen == labels)]]),
        ):
            columns.setdefault(name, []).append(np.bincount(places, minlength=count))
        columns.setdefault("tokens", []).append(run.lengths)
        columns.setdefault("pair_labels", []).append(run.pair_labels)
        tokens_of_samples.append(batch.num_tokens)
    return _Counts(
        tokens_of_samples=np.array(tokens_of_samples),
        **{name: np.concatenate(parts) for name, parts in columns.items()},
    )


def _samples(pretraining: Pretraining, num_sequences: int) -> Iterator[NDArray[np.int64]]:
    """Yield the sequences of one sample after another, until there are enough; packs are in a random order already."""
    if pretraining.packs is None:
        num_sequences = min(num_sequences, len(pretraining.train))
        yield from np.linspace(0, len(pretraining.train) - 1, num_sequences).astype(np.int64)[:, None]
        return
    for pack in pretraining.packs:
        yield pack
        num_sequences -= len(pack)
        if num_sequences <= 0:
            return


def _histogram(lengths: NDArray[np.int64]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Count lengths in bins of about one width: their upper bounds, the longest last, and the counts."""
    longest = int(lengths.max())
    bounds = sorted({-(-longest * number // _NUM_BINS) for number in range(1, _NUM_BINS + 1)})
    counts = np.bincount(np.searchsorted(bounds, lengths), minlength=len(bounds))
    return tuple(bounds), tuple(counts.tolist())


def _remarks(
    counts: _Counts, masking: Masking | None, pair_rates: dict[str, float], token_budget: int | None
) -> Iterator[str]:
    if masking is not None:
        eligible = counts.tokens - counts.special
        for name, numbers, of, setting in (
            ("mlm_probability", counts.targets, eligible, masking.mlm_probability),
            ("mask_token_rate", counts.masked, counts.targets, masking.mask_token_rate),
            (
                "random_token_rate",
                counts.targets - counts.masked - counts.kept,
                counts.targets,
                masking.random_token_rate,
            ),
        ):
            # Sequences are independent, tokens of one need not be (whole words, spans): so the error is theirs.
            total = max(int(of.sum()), 1)
            error = float(np.sqrt(((numbers - setting * of) ** 2).sum())) / total
            if abs(numbers.sum() / total - setting) > _DEVIATIONS * error + 1e-3:
                yield f"{name} is {setting}, but {numbers.sum() / total:.4f} was measured"
        without = int((counts.targets == 0).sum())
        if without > _MAX_WITHOUT_TARGETS * len(counts.targets):
            yield (
                f"{without} of {len(counts.targets)} sequences have nothing to guess: they are short, or "
                "mlm_probability is low"
            )
    num_pairs = int((counts.pair_labels >= 0).sum())
    for name, rate in pair_rates.items():
        if abs(rate - 0.5) > _DEVIATIONS * 0.5 / np.sqrt(max(num_pairs, 1)):
            yield f'the label "{name}" has {rate:.3f} of the pairs instead of half'
    if pair_rates and num_pairs < len(counts.pair_labels) / 2:
        yield (
            f"only {num_pairs} of {len(counts.pair_labels)} sequences are pairs: most documents have one sentence, "
            "so look at how the text is parted into documents and sentences"
        )
    full = np.sort(counts.tokens_of_samples)[1:]  # one may hold what is left over
    if token_budget is not None and len(full) and (efficiency := full.mean() / token_budget) < _MIN_EFFICIENCY:
        yield (
            f"samples fill {efficiency:.3f} of the token budget: choose a budget that is a multiple of a usual "
            "sequence's length, or a larger one"
        )


def _mark(tokenizer: Tokenizer, seen: NDArray[np.int64], labels: NDArray[np.int64]) -> str:
    """Decode what the model sees, and mark the chosen tokens that are not masked."""
    parts: list[str] = []
    word_starts = tokenizer.word_starts
    edges = np.flatnonzero(np.diff(labels != IGNORED, prepend=True, append=True) | (np.append(labels, 0) != IGNORED))
    for start, stop in pairwise(edges):
        ids = seen[start:stop].tolist()
        text = _piece(tokenizer, ids[0]) if len(ids) == 1 else _text(tokenizer, ids)
        if labels[start] != IGNORED:
            is_hidden = ids[0] == tokenizer.mask_token_id
            fate = _MASKED if is_hidden else _KEPT if ids[0] == labels[start] else _RANDOM
            text = text.join(_MARKS[fate])
        parts += [" " if parts and word_starts[ids[0]] else "", text]
    return "".join(parts)


def _text(tokenizer: Tokenizer, ids: list[int]) -> str:
    """Decode a run of tokens that may begin in the middle of a word."""
    rest = tokenizer.decode(ids, skip_special_tokens=False)
    return rest.strip().removeprefix("##") if not tokenizer.word_starts[ids[0]] else rest.strip()


def _piece(tokenizer: Tokenizer, token_id: int) -> str:
    """Spell one token: as text, or as the vocabulary has it if it is only a part of a character."""
    text = _text(tokenizer, [token_id])
    return text if text and "\N{REPLACEMENT CHARACTER}" not in text else str(tokenizer.id_to_token(token_id))


def _figures(check: SelfCheck) -> Table:
    from rich.table import Table

    table = Table("what training will see", "", title=f"Self-check: {_objectives(check)}", title_justify="left")
    table.columns[1].justify = "right"
    for name, value in _rows(check):
        table.add_row(name, value)
    return table


def _objectives(check: SelfCheck) -> str:
    return check.objective + ("" if check.pair_objective is None else f" + {check.pair_objective}")


def _rows(check: SelfCheck) -> Iterator[tuple[str, str]]:
    yield "sequences an epoch", f"{check.num_sequences:,}"
    yield "tokens an epoch", f"{check.tokens_per_epoch:,}"
    yield "tokens a sequence, mean", f"{check.mean_length:.1f}"
    yield "sentences cut, too long", f"{check.num_cut_sentences:,}"
    if check.packing_efficiency is not None:
        yield f"real tokens of a budget of {check.token_budget:,}", f"{check.packing_efficiency:.2%}"
    yield "measured on", f"{check.measured_sequences:,} sequences, {check.measured_tokens:,} tokens"
    yield "special tokens", f"{check.special_rate:.2%}"
    if check.mask_rate is not None:
        yield "chosen to be guessed, of the others", f"{check.mask_rate:.2%}"
        yield "  seen as [MASK]", f"{check.mask_token_rate:.2%}"
        yield "  seen as a random token", f"{check.random_token_rate:.2%}"
        yield "  seen as they are", f"{check.kept_rate:.2%}"
    else:
        yield "next tokens to guess", f"{check.num_targets:,}"
    if check.objective == "rtd":
        yield "tokens to judge: original or replaced?", f"{check.measured_tokens:,}"
    for name, rate in check.pair_rates.items():
        yield f"pairs: {name}", f"{rate:.2%}"
    if check.pair_rates:
        yield "no pair, one sentence alone", f"{check.num_unpaired:,}"


def _lengths(check: SelfCheck) -> Table:
    from rich.table import Table

    table = Table("tokens", "sequences", "", title="Lengths", title_justify="left")
    table.columns[0].justify = table.columns[1].justify = "right"
    most = max(check.length_counts)
    first = 1
    for bound, count in zip(check.length_bins, check.length_counts, strict=True):
        table.add_row(f"{first} to {bound}", f"{count:,}", "█" * -(-30 * count // most))
        first = bound + 1
    return table


def _example(example: Example) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, title="Example", title_justify="left", show_lines=True)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("original", Text(example.original))
    if example.seen != example.original:
        table.add_row("seen", Text(example.seen))
    shown = [f"{t.position}: {t.seen} -> {t.expected} ({t.label})" for t in example.targets[:_MAX_SHOWN]]
    if (more := len(example.targets) - len(shown)) > 0:
        shown.append(f"and {more} more")
    table.add_row("to guess", Text(", ".join(shown)))
    if example.pair_label is not None:
        table.add_row("pair", Text(example.pair_label))
    return table
