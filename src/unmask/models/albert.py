"""ALBERT. Lan et al. 2020, "ALBERT: A Lite BERT for Self-supervised Learning" (arXiv:1909.11942).

BERT with few parameters: embeddings narrower than the hidden states, and layers that share their weights. Section 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import nn

from unmask.models import parts
from unmask.models.bert import BERT_WEIGHTS
from unmask.models.config import ModelConfig
from unmask.models.encoder import Encoder
from unmask.models.family import Family, Head
from unmask.models.headed import (
    ForMaskedLM,
    ForNextSentencePrediction,
    ForPreTraining,
    ForQuestionAnswering,
    ForReplacedTokenDetection,
    ForSequenceClassification,
    ForTokenClassification,
)
from unmask.models.heads import PooledClassifier, Pooler
from unmask.models.weights import WeightTable

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ALBERT", "AlbertConfig", "AlbertModel", "albert_weights"]


@dataclass(frozen=True, kw_only=True)
class AlbertConfig(ModelConfig):
    """What ALBERT has more, with ALBERT-xxlarge's sizes for defaults, as in Hugging Face's class.

    Args:
        embedding_size: E.
        num_hidden_groups: groups of layers; the layers of one share their weights.
        inner_group_num: blocks with weights of their own in each layer, passed one after the other.
    """

    foreign_keys: ClassVar[Mapping[str, str]] = {"classifier_dropout": "classifier_dropout_prob"}

    model_type: str = "albert"
    vocab_size: int = 30000
    embedding_size: int = 128
    hidden_size: int = 4096
    num_hidden_groups: int = 1
    inner_group_num: int = 1
    num_attention_heads: int = 64
    intermediate_size: int = 16384
    hidden_act: str = "gelu_new"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    classifier_dropout: float | None = 0.1


class AlbertModel(Encoder):
    """BERT's encoder with a projection after the embeddings and shared blocks.

    Nothing is dropped after the feed-forward part: Hugging Face's code has no dropout there, and the published
    checkpoints of the second version none at all.
    """

    def __init__(self, config: AlbertConfig, *, add_pooler: bool = True) -> None:
        num_layers, num_groups, num_inner = config.num_hidden_layers, config.num_hidden_groups, config.inner_group_num
        super().__init__(
            config,
            embeddings=parts.make_embeddings(config),
            projection=nn.Linear(config.embedding_size, config.hidden_size),
            blocks=parts.make_blocks(config, num_groups * num_inner, feed_forward_dropout_prob=0.0),
            order=[  # in Hugging Face's arithmetic, which rounds where groups do not divide the layers
                int(layer / (num_layers / num_groups)) * num_inner + inner
                for layer in range(num_layers)
                for inner in range(num_inner)
            ],
            pooler=Pooler(config.hidden_size) if add_pooler else None,
        )


_BLOCK = {
    "attention.query": "attention.query",
    "attention.key": "attention.key",
    "attention.value": "attention.value",
    "attention.output": "attention.dense",
    "attention_norm": "attention.LayerNorm",
    "feed_forward.intermediate": "ffn",
    "feed_forward.output": "ffn_output",
    "feed_forward_norm": "full_layer_layer_norm",
}

_HEADS = {
    "classifier.linear": "classifier",
    "token_classifier.linear": "classifier",
    "qa_outputs": "qa_outputs",
    "masked_lm.dense": "predictions.dense",
    "masked_lm.norm": "predictions.LayerNorm",
    "masked_lm": "predictions",
    "next_sentence.linear": "sop_classifier.classifier",
    # Hugging Face has this head for ELECTRA alone: its names.
    "replaced_token.dense": "discriminator_predictions.dense",
    "replaced_token.prediction": "discriminator_predictions.dense_prediction",
}


def albert_weights(config: AlbertConfig) -> WeightTable:
    """Make the table of names: Hugging Face numbers groups, and blocks in a group; we number blocks through."""
    modules = {ours: theirs for ours, theirs in BERT_WEIGHTS.modules.items() if ours.startswith("embeddings.")}
    modules |= {"projection": "encoder.embedding_hidden_mapping_in", "pooler.dense": "pooler"}
    for block in range(config.num_hidden_groups * config.inner_group_num):
        group, inner = divmod(block, config.inner_group_num)
        layer = f"encoder.albert_layer_groups.{group}.albert_layers.{inner}"
        modules |= {f"blocks.{block}.{ours}": f"{layer}.{theirs}" for ours, theirs in _BLOCK.items()}
    return WeightTable(
        base_prefix="albert.",
        modules=modules,
        heads=_HEADS,
        redundant=("predictions.decoder.weight", "predictions.decoder.bias", "embeddings.position_ids"),
    )


def _sentence_order(config: AlbertConfig) -> PooledClassifier:
    return parts.make_next_sentence(config, dropout_p=config.classifier_dropout_p)


ALBERT = Family(
    config=AlbertConfig,
    weights=albert_weights,
    heads={
        "encoder": Head(architecture="AlbertModel", build=AlbertModel),
        "sequence-classification": Head(
            architecture="AlbertForSequenceClassification",
            build=lambda c: ForSequenceClassification(c, AlbertModel(c), parts.make_pooled_classifier(c)),
        ),
        "token-classification": Head(
            architecture="AlbertForTokenClassification",
            build=lambda c: ForTokenClassification(c, AlbertModel(c, add_pooler=False), parts.make_token_classifier(c)),
        ),
        "question-answering": Head(
            architecture="AlbertForQuestionAnswering",
            build=lambda c: ForQuestionAnswering(c, AlbertModel(c, add_pooler=False), parts.make_qa_outputs(c)),
        ),
        "masked-lm": Head(
            architecture="AlbertForMaskedLM",
            build=lambda c: ForMaskedLM(c, AlbertModel(c, add_pooler=False), parts.make_masked_lm(c)),
        ),
        "next-sentence": Head(
            architecture="AlbertForNextSentencePrediction",
            build=lambda c: ForNextSentencePrediction(c, AlbertModel(c), _sentence_order(c)),
        ),
        "pre-training": Head(
            architecture="AlbertForPreTraining",
            build=lambda c: ForPreTraining(c, AlbertModel(c), parts.make_masked_lm(c), _sentence_order(c)),
        ),
        "replaced-token": Head(
            architecture="AlbertForReplacedTokenDetection",
            build=lambda c: ForReplacedTokenDetection(
                c, AlbertModel(c, add_pooler=False), parts.make_replaced_token(c)
            ),
        ),
    },
)
