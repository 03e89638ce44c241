"""Model configurations, under Hugging Face's keys."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from unmask.errors import CheckpointError
from unmask.models.block import ACTIVATIONS

__all__ = ["BertConfig"]


@dataclass(frozen=True, kw_only=True)
class BertConfig:
    """The sizes of a BERT, and what its checkpoint says of labels. The defaults are BERT-base's.

    Args:
        vocab_size: entries of the vocabulary.
        hidden_size: D, a multiple of num_attention_heads.
        num_hidden_layers: blocks.
        num_attention_heads: N.
        intermediate_size: width of the feed-forward part.
        hidden_act: a key of `unmask.models.block.ACTIVATIONS`.
        hidden_dropout_prob: probability in [0, 1).
        attention_probs_dropout_prob: probability in [0, 1).
        max_position_embeddings: tokens in the longest sequence.
        type_vocab_size: token types.
        initializer_range: standard deviation of new weights.
        layer_norm_eps: added to the variance under the root.
        pad_token_id: the word whose new embedding is zero.
        classifier_dropout: probability before a classifier; None means hidden_dropout_prob.
        id2label: name of each label.
        architectures: names of the model classes the checkpoint was saved from.
        model_type: the family.
        extra: keys of a foreign config.json that we do not use and give back unchanged.

    Raises:
        CheckpointError: if a value lies outside its range.
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0
    classifier_dropout: float | None = None
    id2label: dict[int, str] = field(default_factory=lambda: {0: "LABEL_0", 1: "LABEL_1"})
    architectures: tuple[str, ...] = ()
    model_type: str = "bert"
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in _SIZES:
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise CheckpointError(f"{name} must be a positive integer, not {value!r}")
        if self.hidden_size % self.num_attention_heads:
            raise CheckpointError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}"
            )
        if self.hidden_act not in ACTIVATIONS:
            raise CheckpointError(f"hidden_act {self.hidden_act!r} is unknown; it is one of {', '.join(ACTIVATIONS)}")
        if self.pad_token_id is not None and not 0 <= self.pad_token_id < self.vocab_size:
            raise CheckpointError(f"pad_token_id must lie in [0, {self.vocab_size}), not {self.pad_token_id}")
        if list(self.id2label) != list(range(self.num_labels)):
            raise CheckpointError(f"id2label must number its labels 0, 1, ..., not {list(self.id2label)}")
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise CheckpointError(f"{name} must lie in [0, 1), not {value!r}")

    @property
    def num_labels(self) -> int:
        return len(self.id2label)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read the keys of a config.json; those not ours are kept in `extra`."""
        for key, ours in _FIXED.items():
            if values.get(key) not in (None, ours):
                raise CheckpointError(f"{key} {values[key]!r} is not supported, only {ours!r}")
        own = {f.name for f in fields(cls)} - {"extra"}
        known = {key: value for key, value in values.items() if key in own}
        extra = {key: value for key, value in values.items() if key not in own and key not in _RESTATED}
        if num_labels := extra.pop("num_labels", None):
            known.setdefault("id2label", {label: f"LABEL_{label}" for label in range(num_labels)})
        if "id2label" in known:
            known["id2label"] = {int(label): str(name) for label, name in sorted(known["id2label"].items(), key=_by_id)}
        known["architectures"] = tuple(known.get("architectures") or ())
        return cls(**known, extra=extra)

    def to_dict(self) -> dict[str, Any]:
        """Write the keys of a config.json that Hugging Face's classes read back."""
        values = asdict(self)
        values |= values.pop("extra")
        values["architectures"] = list(self.architectures)
        values["id2label"] = {str(label): name for label, name in self.id2label.items()}
        values["label2id"] = {name: label for label, name in self.id2label.items()}
        return values


_SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
)

_RESTATED = ("label2id", "dtype", "torch_dtype")  # said by id2label, and by the weights themselves: ours are float32

# What changes the numbers a BERT computes, and the one value we compute.
_FIXED = {"is_decoder": False, "add_cross_attention": False, "position_embedding_type": "absolute"}


def _by_id(item: tuple[Any, Any]) -> int:
    return int(item[0])
