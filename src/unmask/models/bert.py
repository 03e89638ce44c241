"""BERT. Devlin et al. 2019, "Pre-training of Deep Bidirectional Transformers" (arXiv:1810.04805)."""

from __future__ import annotations

from dataclasses import dataclass

from unmask.models import parts
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
from unmask.models.heads import Pooler
from unmask.models.weights import WeightTable

__all__ = ["BERT", "BERT_WEIGHTS", "BertConfig", "BertModel"]


@dataclass(frozen=True, kw_only=True)
class BertConfig(ModelConfig):
    """The defaults are BERT-base's."""

    model_type: str = "bert"


class BertModel(Encoder):
    """The encoder: word, position and segment embeddings, post-norm blocks, a pooler on [CLS]."""

    def __init__(self, config: BertConfig, *, add_pooler: bool = True) -> None:
        super().__init__(
            config,
            embeddings=parts.make_embeddings(config),
            blocks=parts.make_blocks(config),
            pooler=Pooler(config.hidden_size) if add_pooler else None,
        )


BERT_WEIGHTS = WeightTable(
    base_prefix="bert.",
    modules={
        "embeddings.word": "embeddings.word_embeddings",
        "embeddings.position": "embeddings.position_embeddings",
        "embeddings.token_type": "embeddings.token_type_embeddings",
        "embeddings.norm": "embeddings.LayerNorm",
        "blocks.{}.attention.query": "encoder.layer.{}.attention.self.query",
        "blocks.{}.attention.key": "encoder.layer.{}.attention.self.key",
        "blocks.{}.attention.value": "encoder.layer.{}.attention.self.value",
        "blocks.{}.attention.output": "encoder.layer.{}.attention.output.dense",
        "blocks.{}.attention_norm": "encoder.layer.{}.attention.output.LayerNorm",
        "blocks.{}.feed_forward.intermediate": "encoder.layer.{}.intermediate.dense",
        "blocks.{}.feed_forward.output": "encoder.layer.{}.output.dense",
        "blocks.{}.feed_forward_norm": "encoder.layer.{}.output.LayerNorm",
        "pooler.dense": "pooler.dense",
    },
    heads={
        "classifier.linear": "classifier",
        "token_classifier.linear": "classifier",
        "qa_outputs": "qa_outputs",
        "masked_lm.dense": "cls.predictions.transform.dense",
        "masked_lm.norm": "cls.predictions.transform.LayerNorm",
        "masked_lm": "cls.predictions",
        "next_sentence.linear": "cls.seq_relationship",
        # Hugging Face has this head for ELECTRA alone: its names.
        "replaced_token.dense": "discriminator_predictions.dense",
        "replaced_token.prediction": "discriminator_predictions.dense_prediction",
    },
    # Copies of other weights, and positions that are only counted: not parameters of ours.
    redundant=("cls.predictions.decoder.weight", "cls.predictions.decoder.bias", "embeddings.position_ids"),
)

BERT = Family(
    config=BertConfig,
    weights=lambda config: BERT_WEIGHTS,
    heads={
        "encoder": Head(architecture="BertModel", build=BertModel),
        "sequence-classification": Head(
            architecture="BertForSequenceClassification",
            build=lambda c: ForSequenceClassification(c, BertModel(c), parts.make_pooled_classifier(c)),
        ),
        "token-classification": Head(
            architecture="BertForTokenClassification",
            build=lambda c: ForTokenClassification(c, BertModel(c, add_pooler=False), parts.make_token_classifier(c)),
        ),
        "question-answering": Head(
            architecture="BertForQuestionAnswering",
            build=lambda c: ForQuestionAnswering(c, BertModel(c, add_pooler=False), parts.make_qa_outputs(c)),
        ),
        "masked-lm": Head(
            architecture="BertForMaskedLM",
            build=lambda c: ForMaskedLM(c, BertModel(c, add_pooler=False), parts.make_masked_lm(c)),
        ),
        "next-sentence": Head(
            architecture="BertForNextSentencePrediction",
            build=lambda c: ForNextSentencePrediction(c, BertModel(c), parts.make_next_sentence(c)),
        ),
        "pre-training": Head(
            architecture="BertForPreTraining",
            build=lambda c: ForPreTraining(c, BertModel(c), parts.make_masked_lm(c), parts.make_next_sentence(c)),
        ),
        "replaced-token": Head(
            architecture="BertForReplacedTokenDetection",
            build=lambda c: ForReplacedTokenDetection(c, BertModel(c, add_pooler=False), parts.make_replaced_token(c)),
        ),
    },
)
