"""RoBERTa. Liu et al. 2019, "RoBERTa: A Robustly Optimized BERT Pretraining Approach" (arXiv:1907.11692).

BERT pretrained better: no next-sentence objective, so no token types and no trained pooler, and bytes for a vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from unmask.errors import CheckpointError
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
from unmask.models.heads import FirstTokenClassifier, MaskedLMHead, Pooler
from unmask.models.weights import WeightTable

__all__ = ["ROBERTA", "ROBERTA_WEIGHTS", "RobertaConfig", "RobertaModel"]


@dataclass(frozen=True, kw_only=True)
class RobertaConfig(ModelConfig):
    """Of the positions, the first pad_token_id + 1 are never used: 514 of them take 512 tokens."""

    model_type: str = "roberta"
    vocab_size: int = 50265
    pad_token_id: int | None = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pad_token_id is None:
            raise CheckpointError("pad_token_id must be a number: RoBERTa's positions are counted from it")
        if self.max_position_embeddings <= self.pad_token_id + 1:
            raise CheckpointError(
                f"max_position_embeddings must be more than pad_token_id + 1, which is {self.pad_token_id + 1}, "
                f"not {self.max_position_embeddings}"
            )


class RobertaModel(Encoder):
    """BERT's encoder, with positions numbered from pad_token_id + 1, as fairseq numbers them."""

    def __init__(self, config: RobertaConfig, *, add_pooler: bool = True) -> None:
        assert config.pad_token_id is not None  # the config has seen to it
        super().__init__(
            config,
            embeddings=parts.make_embeddings(config, position_offset=config.pad_token_id + 1),
            blocks=parts.make_blocks(config),
            pooler=Pooler(config.hidden_size) if add_pooler else None,
        )


ROBERTA_WEIGHTS = WeightTable(
    base_prefix="roberta.",
    modules=BERT_WEIGHTS.modules,
    heads={
        "classifier.dense": "classifier.dense",
        "classifier.linear": "classifier.out_proj",
        "token_classifier.linear": "classifier",
        "qa_outputs": "qa_outputs",
        "masked_lm.dense": "lm_head.dense",
        "masked_lm.norm": "lm_head.layer_norm",
        "masked_lm": "lm_head",
        # Hugging Face has these heads for BERT and ELECTRA alone: their names.
        "next_sentence.linear": "cls.seq_relationship",
        "replaced_token.dense": "discriminator_predictions.dense",
        "replaced_token.prediction": "discriminator_predictions.dense_prediction",
    },
    redundant=("lm_head.decoder.weight", "lm_head.decoder.bias", "embeddings.position_ids"),
)


def _classifier(config: RobertaConfig) -> FirstTokenClassifier:
    return FirstTokenClassifier(
        config.hidden_size, config.num_labels, dropout_p=config.classifier_dropout_p, activation=torch.tanh
    )


def _masked_lm(config: RobertaConfig) -> MaskedLMHead:
    return parts.make_masked_lm(config, hidden_act="gelu")  # whatever the blocks use


ROBERTA = Family(
    config=RobertaConfig,
    weights=lambda config: ROBERTA_WEIGHTS,
    heads={
        "encoder": Head(architecture="RobertaModel", build=RobertaModel),
        "sequence-classification": Head(
            architecture="RobertaForSequenceClassification",
            build=lambda c: ForSequenceClassification(c, RobertaModel(c, add_pooler=False), _classifier(c)),
        ),
        "token-classification": Head(
            architecture="RobertaForTokenClassification",
            build=lambda c: ForTokenClassification(
                c, RobertaModel(c, add_pooler=False), parts.make_token_classifier(c)
            ),
        ),
        "question-answering": Head(
            architecture="RobertaForQuestionAnswering",
            build=lambda c: ForQuestionAnswering(c, RobertaModel(c, add_pooler=False), parts.make_qa_outputs(c)),
        ),
        "masked-lm": Head(
            architecture="RobertaForMaskedLM",
            build=lambda c: ForMaskedLM(c, RobertaModel(c, add_pooler=False), _masked_lm(c)),
        ),
        "next-sentence": Head(
            architecture="RobertaForNextSentencePrediction",
            build=lambda c: ForNextSentencePrediction(c, RobertaModel(c), parts.make_next_sentence(c)),
        ),
        "pre-training": Head(
            architecture="RobertaForPreTraining",
            build=lambda c: ForPreTraining(c, RobertaModel(c), _masked_lm(c), parts.make_next_sentence(c)),
        ),
        "replaced-token": Head(
            architecture="RobertaForReplacedTokenDetection",
            build=lambda c: ForReplacedTokenDetection(
                c, RobertaModel(c, add_pooler=False), parts.make_replaced_token(c)
            ),
        ),
    },
)
