"""ELECTRA. Clark et al. 2020, "Pre-training Text Encoders as Discriminators Rather Than Generators" (arXiv:2003.10555).

BERT's encoder without a pooler, its small sizes with narrow embeddings; a generator guesses masked words, and a
discriminator finds which words are guesses. Both are models of this family.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import nn

from unmask.models import parts
from unmask.models.bert import BERT_WEIGHTS
from unmask.models.config import ModelConfig
from unmask.models.encoder import Encoder
from unmask.models.family import Family, Head
from unmask.models.headed import (
    ForMaskedLM,
    ForQuestionAnswering,
    ForReplacedTokenDetection,
    ForSequenceClassification,
    ForTokenClassification,
)
from unmask.models.heads import FirstTokenClassifier
from unmask.models.weights import WeightTable

__all__ = ["ELECTRA", "ELECTRA_WEIGHTS", "ElectraConfig", "ElectraModel"]


@dataclass(frozen=True, kw_only=True)
class ElectraConfig(ModelConfig):
    """The defaults are those of ELECTRA-small's discriminator.

    Args:
        embedding_size: E.
    """

    model_type: str = "electra"
    embedding_size: int = 128
    hidden_size: int = 256
    num_attention_heads: int = 4
    intermediate_size: int = 1024


class ElectraModel(Encoder):
    """BERT's encoder without a pooler, and with a projection where the embeddings have another width."""

    def __init__(self, config: ElectraConfig) -> None:
        has_projection = config.embedding_size != config.hidden_size
        super().__init__(
            config,
            embeddings=parts.make_embeddings(config),
            projection=nn.Linear(config.embedding_size, config.hidden_size) if has_projection else None,
            blocks=parts.make_blocks(config),
        )


ELECTRA_WEIGHTS = WeightTable(
    base_prefix="electra.",
    modules={**BERT_WEIGHTS.modules, "projection": "embeddings_project"},
    heads={
        "classifier.dense": "classifier.dense",
        "classifier.linear": "classifier.out_proj",
        "token_classifier.linear": "classifier",
        "qa_outputs": "qa_outputs",
        "masked_lm.dense": "generator_predictions.dense",
        "masked_lm.norm": "generator_predictions.LayerNorm",
        "masked_lm": "generator_lm_head",
        "replaced_token.dense": "discriminator_predictions.dense",
        "replaced_token.prediction": "discriminator_predictions.dense_prediction",
    },
    redundant=("generator_lm_head.weight", "embeddings.position_ids"),
)


def _classifier(config: ElectraConfig) -> FirstTokenClassifier:
    return FirstTokenClassifier(
        config.hidden_size, config.num_labels, dropout_p=config.classifier_dropout_p, activation=F.gelu
    )


ELECTRA = Family(
    config=ElectraConfig,
    weights=lambda config: ELECTRA_WEIGHTS,
    heads={
        "encoder": Head(architecture="ElectraModel", build=ElectraModel),
        "sequence-classification": Head(
            architecture="ElectraForSequenceClassification",
            build=lambda c: ForSequenceClassification(c, ElectraModel(c), _classifier(c)),
        ),
        "token-classification": Head(
            architecture="ElectraForTokenClassification",
            build=lambda c: ForTokenClassification(c, ElectraModel(c), parts.make_token_classifier(c)),
        ),
        "question-answering": Head(
            architecture="ElectraForQuestionAnswering",
            build=lambda c: ForQuestionAnswering(c, ElectraModel(c), parts.make_qa_outputs(c)),
        ),
        "masked-lm": Head(
            architecture="ElectraForMaskedLM",
            build=lambda c: ForMaskedLM(c, ElectraModel(c), parts.make_masked_lm(c, hidden_act="gelu")),
        ),
        "replaced-token": Head(
            architecture="ElectraForPreTraining",
            build=lambda c: ForReplacedTokenDetection(c, ElectraModel(c), parts.make_replaced_token(c)),
        ),
    },
)
