"""The parts of a model in the sizes of its config. Layers take plain arguments; this is where a config becomes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from unmask.models.block import TransformerBlock
from unmask.models.embeddings import Embeddings
from unmask.models.heads import MaskedLMHead, PooledClassifier, ReplacedTokenHead, TokenClassifier

if TYPE_CHECKING:
    from unmask.models.config import ModelConfig

__all__ = [
    "make_blocks",
    "make_embeddings",
    "make_masked_lm",
    "make_next_sentence",
    "make_pooled_classifier",
    "make_qa_outputs",
    "make_replaced_token",
    "make_token_classifier",
]


def make_embeddings(config: ModelConfig, **differences: Any) -> Embeddings:
    """Make the embeddings; differences are the arguments of `Embeddings` that a family sets otherwise."""
    arguments: dict[str, Any] = {
        "vocab_size": config.vocab_size,
        "embedding_size": config.embedding_size,
        "max_position_embeddings": config.max_position_embeddings,
        "type_vocab_size": config.type_vocab_size,
        "layer_norm_eps": config.layer_norm_eps,
        "hidden_dropout_prob": config.hidden_dropout_prob,
    }
    return Embeddings(**arguments | differences)


def make_blocks(config: ModelConfig, count: int | None = None, **differences: Any) -> list[TransformerBlock]:
    """Make so many blocks, num_hidden_layers if None; differences as above, of `TransformerBlock`."""
    arguments: dict[str, Any] = {
        "hidden_size": config.hidden_size,
        "num_attention_heads": config.num_attention_heads,
        "intermediate_size": config.intermediate_size,
        "hidden_act": config.hidden_act,
        "hidden_dropout_prob": config.hidden_dropout_prob,
        "attention_probs_dropout_prob": config.attention_probs_dropout_prob,
        "layer_norm_eps": config.layer_norm_eps,
    }
    return [
        TransformerBlock(**arguments | differences) for _ in range(config.num_hidden_layers if count is None else count)
    ]


def make_pooled_classifier(config: ModelConfig) -> PooledClassifier:
    """Make the classifier of BERT and ALBERT."""
    return PooledClassifier(config.hidden_size, config.num_labels, dropout_p=config.classifier_dropout_p)


def make_token_classifier(config: ModelConfig, *, dropout_p: float | None = None) -> TokenClassifier:
    """Make the classifier of tokens; dropout_p where it is not the config's."""
    p = config.classifier_dropout_p if dropout_p is None else dropout_p
    return TokenClassifier(config.hidden_size, config.num_labels, dropout_p=p)


def make_qa_outputs(config: ModelConfig) -> nn.Linear:
    """Make the layer that scores starts and ends of answers."""
    return nn.Linear(config.hidden_size, 2)


def make_next_sentence(config: ModelConfig, *, dropout_p: float = 0.0) -> PooledClassifier:
    """Make the head for pairs of texts; BERT's has no dropout."""
    return PooledClassifier(config.hidden_size, 2, dropout_p=dropout_p)


def make_masked_lm(config: ModelConfig, *, hidden_act: str | None = None) -> MaskedLMHead:
    """Make the masked LM head; hidden_act where it is not the config's."""
    return MaskedLMHead(
        hidden_size=config.hidden_size,
        embedding_size=config.embedding_size,
        vocab_size=config.vocab_size,
        hidden_act=hidden_act or config.hidden_act,
        layer_norm_eps=config.layer_norm_eps,
    )


def make_replaced_token(config: ModelConfig) -> ReplacedTokenHead:
    """Make the discriminator's head."""
    return ReplacedTokenHead(hidden_size=config.hidden_size, hidden_act=config.hidden_act)
