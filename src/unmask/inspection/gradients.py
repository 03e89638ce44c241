"""Which tokens move a prediction: integrated gradients.

Sundararajan, Taly and Yan 2017, "Axiomatic Attribution for Deep Networks" (arXiv:1703.01365), section 3:

    attribution_i = (x_i - x'_i) * integral over a in [0, 1] of dF(x' + a (x - x')) / dx_i

from a baseline x' that says nothing to the text x. F is the probability of the prediction (the number itself where a
model predicts one). What makes it more than a plain gradient is completeness (proposition 1): the attributions of all
tokens add up to F(x) - F(x'). The integral is a sum here, so that is checked, and the sum made finer until it holds.

The baseline is the text with the word embedding of each token set to zero, as the paper has it for texts, or to that of
[MASK]. Positions and token types stay, and so do special tokens ([CLS], [SEP], a [MASK] that is asked about): without
them there would be no question. They get no attribution.

Axes: S tokens, K points on the way, E embedding.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch

from unmask.errors import CheckpointError, DataError, SettingsError
from unmask.inspection.reading import pieces_of_word
from unmask.models.headed import ForMaskedLM, ForSequenceClassification
from unmask.models.registry import config_of, encoder_of
from unmask.packing import pack
from unmask.tokenization.readable import piece_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from unmask.inspection.reading import ReadText
    from unmask.packing import PackedBatch
    from unmask.tokenization import Tokenizer

__all__ = ["Attribution", "Baseline", "attribute_prediction"]

Baseline = Literal["zero", "mask"]

TOLERANCE = 1e-3
"""How far the sum of attributions may lie from the change of the prediction, as a share of that change."""

_LEAST_CHANGE = 0.01  # of which it is a share at least: float32 knows a probability to about 1e-7
_FEWEST_POINTS, _MOST_POINTS = 16, 1024
_TOKENS_AT_ONCE = 4096  # of one forward and backward pass


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """What each token of a text does for a prediction.

    Args:
        text: the text.
        text_pair: the second one, or None.
        target: what is predicted: a label, or a word for the mask.
        output: what F is: "probability", or "score" where the model predicts a number.
        prediction: F of the text.
        baseline_prediction: F of the baseline.
        baseline: which one: "zero" or "mask".
        tokens: all tokens, as the vocabulary spells them.
        offsets: start and end of each in its own text, in characters.
        sequence_ids: 0 for a token of the text, 1 for one of the second, None for a special one.
        attributions: what each adds to F (below 0: takes from it); 0 for special ones.
        num_points: points of the sum.
        completeness_error: sum of the attributions minus (prediction - baseline_prediction).
    """

    text: str
    text_pair: str | None
    target: str
    output: Literal["probability", "score"]
    prediction: float
    baseline_prediction: float
    baseline: Baseline
    tokens: tuple[str, ...]
    offsets: tuple[tuple[int, int], ...]
    sequence_ids: tuple[int | None, ...]
    attributions: tuple[float, ...]
    num_points: int
    completeness_error: float

    @property
    def is_complete(self) -> bool:
        """Whether the attributions add up, within `TOLERANCE`."""
        return abs(self.completeness_error) <= _allowed(self.prediction - self.baseline_prediction)

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        return asdict(self) | {"is_complete": self.is_complete}


@dataclass(frozen=True)
class _Asked:
    """The F of a model: makes of a packed batch one number a sequence, (B,)."""

    compute: Callable[[PackedBatch], Tensor]
    target: str
    output: Literal["probability", "score"]


def attribute_prediction(
    model: nn.Module,
    tokenizer: Tokenizer,
    read: ReadText,
    *,
    target: str | None = None,
    baseline: Baseline = "zero",
    num_points: int | None = None,
) -> Attribution:
    """Compute the integrated gradients of a prediction.

    Args:
        model: a classifier of texts (regression too), or one with a masked LM head and a text with a mask; in eval
            mode.
        tokenizer: the model's.
        read: the text.
        target: the label to explain, or the word for the (first) mask, of one piece; None explains what the model
            predicts.
        baseline: see the top of this file.
        num_points: Gauss-Legendre points of the sum; None takes 16 and doubles them until the attributions add up to
            `TOLERANCE`, or there are 1,024.

    Raises:
        CheckpointError: the model predicts nothing that is explained here.
        DataError: the text has no mask to guess.
        SettingsError: there is no such target or baseline, or num_points is less than 1.
    """
    if baseline not in get_args(Baseline):
        raise SettingsError(f"baseline is {baseline!r}: it must be one of {', '.join(get_args(Baseline))}")
    if num_points is not None and num_points < 1:
        raise SettingsError(f"num_points is {num_points}: it must be 1 or more")
    asked = _ask(model, tokenizer, read, target)
    way = _Way(model, tokenizer, read, baseline)
    prediction, baseline_prediction = (float(way.values(asked, np.array([end]))[0]) for end in (1.0, 0.0))
    change = prediction - baseline_prediction
    points = _FEWEST_POINTS if num_points is None else num_points
    while True:
        attributions = way.integrate(asked, points)
        error = float(attributions.sum()) - change
        if num_points is not None or points >= _MOST_POINTS or abs(error) <= _allowed(change):
            break
        points *= 2
    encoding = read.encoding
    return Attribution(
        text=read.text,
        text_pair=read.text_pair,
        target=asked.target,
        output=asked.output,
        prediction=prediction,
        baseline_prediction=baseline_prediction,
        baseline=baseline,
        tokens=read.tokens,
        offsets=tuple(encoding.offsets),
        sequence_ids=tuple(encoding.sequence_ids),
        attributions=tuple(attributions.tolist()),
        num_points=points,
        completeness_error=error,
    )


def _allowed(change: float) -> float:
    return TOLERANCE * max(_LEAST_CHANGE, abs(change))


class _Way:
    """The straight way from the baseline to a text, in the space of its word embeddings."""

    def __init__(self, model: nn.Module, tokenizer: Tokenizer, read: ReadText, baseline: Baseline) -> None:
        self.encoder, self.read = encoder_of(model), read
        ids = torch.tensor(read.encoding.input_ids)
        table = self.encoder.embeddings.word.table.detach()
        self.device = table.device
        self.end = table[ids.to(self.device)]  # (S, E)
        nothing = torch.zeros_like(self.end)
        if baseline == "mask":
            if tokenizer.mask_token_id is None:
                raise SettingsError("the tokenizer has no mask token: take the baseline zero")
            nothing = table[tokenizer.mask_token_id].expand_as(self.end)
        stays = [int(i) in tokenizer.special_ids for i in ids]
        self.start = torch.where(torch.tensor(stays, device=self.device)[:, None], self.end, nothing)

    def values(self, asked: _Asked, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """F at these places of the way, (K,)."""
        with torch.no_grad():
            values: NDArray[np.float64] = self._run(asked, self._at(places)).double().cpu().numpy()
        return values

    def integrate(self, asked: _Asked, num_points: int) -> NDArray[np.float64]:
        """Sum the gradients at so many points of Gauss and Legendre: what each token adds, (S,)."""
        nodes, weights = np.polynomial.legendre.leggauss(num_points)
        places, weights = (nodes + 1) / 2, weights / 2  # from [-1, 1] to [0, 1]
        length = len(self.end)
        at_once = max(1, _TOKENS_AT_ONCE // length)
        total = torch.zeros_like(self.end, dtype=torch.float64)
        for first in range(0, num_points, at_once):
            embedded = self._at(places[first : first + at_once]).requires_grad_()
            with torch.enable_grad():
                summed = self._run(asked, embedded).sum()
            [gradient] = torch.autograd.grad(summed, embedded)
            share = torch.from_numpy(weights[first : first + at_once]).to(self.device)
            total += (gradient.unflatten(0, (-1, length)).double() * share[:, None, None]).sum(0)
        attributions: NDArray[np.float64] = (total * (self.end - self.start).double()).sum(-1).cpu().numpy()
        return attributions

    def _at(self, places: NDArray[np.float64]) -> Tensor:
        """The embeddings of the sequence at K places, end to end, (K * S, E)."""
        shares = torch.from_numpy(places).to(self.end)[:, None, None]
        return (self.start + shares * (self.end - self.start)).flatten(0, 1)

    def _run(self, asked: _Asked, embedded: Tensor) -> Tensor:
        """F of sequences with these word embeddings in place of their own."""
        count = len(embedded) // len(self.end)
        encoding = self.read.encoding
        batch = pack([encoding.input_ids] * count, [encoding.token_type_ids] * count).to(self.device)
        hook = self.encoder.embeddings.word.register_forward_hook(lambda *_: embedded)
        try:
            return asked.compute(batch)
        finally:
            hook.remove()


def _ask(model: nn.Module, tokenizer: Tokenizer, read: ReadText, target: str | None) -> _Asked:
    if isinstance(model, ForSequenceClassification):
        return _ask_classifier(model, read, target)
    if isinstance(model, ForMaskedLM):
        return _ask_masked_lm(model, tokenizer, read, target)
    head = getattr(model, "head", "encoder")
    raise CheckpointError(
        f"a model with the head {head} has no one prediction to explain: give a classifier of texts, or a masked "
        "language model and a text with a mask"
    )


def _ask_classifier(model: ForSequenceClassification, read: ReadText, target: str | None) -> _Asked:
    config = config_of(model)
    names = config.id2label
    device = next(model.parameters()).device
    if config.num_labels == 1:
        if target is not None and target != names[0]:
            raise SettingsError(f"target is {target!r}: this model predicts one number; leave target out")
        return _Asked(lambda batch: model(batch).logits[:, 0], names[0], "score")
    is_multi_label = config.extra.get("problem_type") == "multi_label_classification"

    def chances(batch: PackedBatch) -> Tensor:
        logits = model(batch).logits
        return logits.sigmoid() if is_multi_label else logits.softmax(-1)

    if target is None:
        with torch.no_grad():
            label = int(chances(read.to_batch().to(device))[0].argmax())
    else:
        label = next((number for number, name in names.items() if name == target), -1)
        if label < 0:
            raise SettingsError(f"target is {target!r}: the labels are {', '.join(names.values())}")
    return _Asked(lambda batch: chances(batch)[:, label], names[label], "probability")


def _ask_masked_lm(model: ForMaskedLM, tokenizer: Tokenizer, read: ReadText, target: str | None) -> _Asked:
    ids = read.encoding.input_ids
    if tokenizer.mask_token_id not in ids:
        raise DataError(f"the text has no {tokenizer.mask_token}: put it where the guess is to be explained")
    row = ids.index(tokenizer.mask_token_id)

    def chances(batch: PackedBatch) -> Tensor:
        return model(batch, rows=batch.first_rows.long() + row).logits.softmax(-1)

    if target is None:
        device = next(model.parameters()).device
        with torch.no_grad():
            word = int(chances(read.to_batch().to(device))[0, : tokenizer.vocab_size].argmax())
    else:
        pieces = pieces_of_word(tokenizer, target)
        if len(pieces) > 1:
            spelled = " ".join(tokenizer.id_to_token(piece) or "" for piece in pieces)
            raise SettingsError(f"target is {target!r}: it has {len(pieces)} pieces ({spelled}), and a mask hides one")
        [word] = pieces
    return _Asked(lambda batch: chances(batch)[:, word], piece_text(tokenizer, word), "probability")
