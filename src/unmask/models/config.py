"""What every family's configuration says, under Hugging Face's keys. A family's file declares its own kind of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

from unmask.errors import CheckpointError
from unmask.models.block import ACTIVATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ModelConfig"]

_RESTATED = ("label2id", "dtype", "torch_dtype")  # said by id2label, and by the weights themselves: ours are float32


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The sizes of a model, and what its checkpoint says of labels.

    A family's defaults are those of Hugging Face's class: they are what a config.json means that leaves a key out.
    In a family, a field of type int is a size, 1 or more, and one whose name ends in dropout or dropout_prob is a
    probability.

    Args:
        model_type: the family, as config.json names it.
        vocab_size: entries of the vocabulary.
        hidden_size: D, a multiple of num_attention_heads.
        num_hidden_layers: blocks a token passes through.
        num_attention_heads: N.
        intermediate_size: width of the feed-forward part.
        hidden_act: a key of `unmask.models.block.ACTIVATIONS`.
        hidden_dropout_prob: probability in [0, 1).
        attention_probs_dropout_prob: probability in [0, 1).
        max_position_embeddings: positions there are; tokens in the longest sequence, unless the family skips some.
        type_vocab_size: token types.
        initializer_range: standard deviation of new weights.
        layer_norm_eps: added to the variance under the root.
        pad_token_id: the word whose new embedding is zero.
        classifier_dropout: probability before a classifier; None means hidden_dropout_prob.
        id2label: name of each label.
        architectures: names of the model classes the checkpoint was saved from.
        extra: keys of a foreign config.json that we do not use and give back unchanged.

    Raises:
        CheckpointError: if a value lies outside its range.
    """

    foreign_keys: ClassVar[Mapping[str, str]] = {}
    """Fields whose key in config.json is another, and that key."""

    absent: ClassVar[frozenset[str]] = frozenset()
    """Fields that the family has no key for: they keep their default, and are neither read, written nor checked."""

    fixed: ClassVar[Mapping[str, Any]] = {
        "is_decoder": False,
        "add_cross_attention": False,
        "position_embedding_type": "absolute",
    }
    """Keys that change the numbers a model computes, and the one value we compute."""

    model_type: str
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
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        keys = {f.name: self._key(f.name) for f in fields(self) if f.name not in self.absent}
        for name in (f.name for f in fields(self) if f.type == "int" and f.name in keys):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise CheckpointError(f"{keys[name]} must be a positive integer, not {value!r}")
        if self.hidden_size % self.num_attention_heads:
            raise CheckpointError(
                f"{keys['hidden_size']} {self.hidden_size} is not a multiple of "
                f"{keys['num_attention_heads']} {self.num_attention_heads}"
            )
        if self.hidden_act not in ACTIVATIONS:
            raise CheckpointError(
                f"{keys['hidden_act']} {self.hidden_act!r} is unknown; it is one of {', '.join(ACTIVATIONS)}"
            )
        if self.pad_token_id is not None and not 0 <= self.pad_token_id < self.vocab_size:
            raise CheckpointError(f"pad_token_id must lie in [0, {self.vocab_size}), not {self.pad_token_id}")
        if list(self.id2label) != list(range(self.num_labels)):
            raise CheckpointError(f"id2label must number its labels 0, 1, ..., not {list(self.id2label)}")
        for name in (name for name in keys if name.endswith(("dropout_prob", "dropout"))):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise CheckpointError(f"{keys[name]} must lie in [0, 1), not {value!r}")

    @property
    def num_labels(self) -> int:
        return len(self.id2label)

    @property
    def embedding_size(self) -> int:
        """E, the width of the embeddings: D, except in families that factorise them."""
        return self.hidden_size

    @property
    def classifier_dropout_p(self) -> float:
        """Probability before a classifier."""
        return self.hidden_dropout_prob if self.classifier_dropout is None else self.classifier_dropout

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read the keys of a config.json; those not ours are kept in `extra`."""
        for key, ours in cls.fixed.items():
            if values.get(key) not in (None, ours):
                raise CheckpointError(f"{key} {values[key]!r} is not supported, only {ours!r}")
        names = {cls._key(f.name): f.name for f in fields(cls) if f.name not in {"extra", *cls.absent}}
        known = {names[key]: value for key, value in values.items() if key in names}
        extra = {key: value for key, value in values.items() if key not in names and key not in _RESTATED}
        if num_labels := extra.pop("num_labels", None):
            known.setdefault("id2label", {label: f"LABEL_{label}" for label in range(num_labels)})
        if "id2label" in known:
            known["id2label"] = {int(label): str(name) for label, name in sorted(known["id2label"].items(), key=_by_id)}
        known["architectures"] = tuple(known.get("architectures") or ())
        return cls(**known, extra=extra)

    def to_dict(self) -> dict[str, Any]:
        """Write the keys of a config.json that Hugging Face's classes read back."""
        own = {name: value for name, value in asdict(self).items() if name not in {"extra", *self.absent}}
        values = {self._key(name): value for name, value in own.items()} | self.extra
        values["architectures"] = list(self.architectures)
        values["id2label"] = {str(label): name for label, name in self.id2label.items()}
        values["label2id"] = {name: label for label, name in self.id2label.items()}
        return values

    @classmethod
    def _key(cls, name: str) -> str:
        return cls.foreign_keys.get(name, name)


def _by_id(item: tuple[Any, Any]) -> int:
    return int(item[0])
