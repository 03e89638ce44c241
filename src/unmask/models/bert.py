"""BERT. Devlin et al. 2019, "Pre-training of Deep Bidirectional Transformers" (arXiv:1810.04805)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from unmask.models.block import TransformerBlock
from unmask.models.embeddings import Embeddings
from unmask.models.encoder import Encoder
from unmask.models.heads import MaskedLMHead, PooledClassifier, Pooler
from unmask.models.outputs import (
    MaskedLMOutput,
    NextSentenceOutput,
    PreTrainingOutput,
    SequenceClassifierOutput,
)
from unmask.models.weights import WeightTable

if TYPE_CHECKING:
    from torch import Tensor

    from unmask.models.config import BertConfig
    from unmask.packing import PackedBatch, PaddedBatch

__all__ = [
    "BERT_WEIGHTS",
    "BertForMaskedLM",
    "BertForNextSentencePrediction",
    "BertForPreTraining",
    "BertForSequenceClassification",
    "BertModel",
]


class BertModel(Encoder):
    """The encoder: word, position and segment embeddings, post-norm blocks, a pooler on [CLS]."""

    def __init__(self, config: BertConfig, *, add_pooler: bool = True) -> None:
        super().__init__(
            embeddings=Embeddings(
                vocab_size=config.vocab_size,
                embedding_size=config.hidden_size,
                max_position_embeddings=config.max_position_embeddings,
                type_vocab_size=config.type_vocab_size,
                layer_norm_eps=config.layer_norm_eps,
                hidden_dropout_prob=config.hidden_dropout_prob,
            ),
            blocks=[
                TransformerBlock(
                    hidden_size=config.hidden_size,
                    num_attention_heads=config.num_attention_heads,
                    intermediate_size=config.intermediate_size,
                    hidden_act=config.hidden_act,
                    hidden_dropout_prob=config.hidden_dropout_prob,
                    attention_probs_dropout_prob=config.attention_probs_dropout_prob,
                    layer_norm_eps=config.layer_norm_eps,
                )
                for _ in range(config.num_hidden_layers)
            ],
            pooler=Pooler(config.hidden_size) if add_pooler else None,
        )
        self.config = config


class BertForSequenceClassification(nn.Module):
    """A label for each text or pair: dropout and a linear layer on the pooled [CLS]. Section 4.1, figure 4 a and b."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = BertModel(config)
        dropout_p = config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
        self.classifier = PooledClassifier(config.hidden_size, config.num_labels, dropout_p=dropout_p)

    def forward(self, batch: PackedBatch | PaddedBatch) -> SequenceClassifierOutput:
        encoded = self.encoder(batch)
        return SequenceClassifierOutput(logits=self.classifier(encoded.pooler_output, encoded.layout), encoder=encoded)


class BertForMaskedLM(nn.Module):
    """The words behind [MASK]. Section 3.1, task 1."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = BertModel(config, add_pooler=False)
        self.masked_lm = _masked_lm_head(config)

    def forward(self, batch: PackedBatch | PaddedBatch, positions: Tensor | None = None) -> MaskedLMOutput:
        """Guess the words at these rows of the packed tokens, int64 (M,); at all rows if None."""
        encoded = self.encoder(batch)
        logits = self.masked_lm(encoded.last_hidden_state, self.encoder.embeddings.word.weight, positions)
        return MaskedLMOutput(logits=logits, encoder=encoded)


class BertForNextSentencePrediction(nn.Module):
    """Does the second text follow the first? Label 0 says it does, as in Google's checkpoints. Section 3.1, task 2."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = BertModel(config)
        self.next_sentence = nn.Linear(config.hidden_size, 2)

    def forward(self, batch: PackedBatch | PaddedBatch) -> NextSentenceOutput:
        encoded = self.encoder(batch)
        return NextSentenceOutput(logits=self.next_sentence(encoded.pooler_output), encoder=encoded)


class BertForPreTraining(nn.Module):
    """Both objectives on one encoder, as BERT was pretrained. Appendix A.2."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = BertModel(config)
        self.masked_lm = _masked_lm_head(config)
        self.next_sentence = nn.Linear(config.hidden_size, 2)

    def forward(self, batch: PackedBatch | PaddedBatch, positions: Tensor | None = None) -> PreTrainingOutput:
        """As `BertForMaskedLM` and `BertForNextSentencePrediction`, in one pass."""
        encoded = self.encoder(batch)
        word_embeddings = self.encoder.embeddings.word.weight
        return PreTrainingOutput(
            prediction_logits=self.masked_lm(encoded.last_hidden_state, word_embeddings, positions),
            seq_relationship_logits=self.next_sentence(encoded.pooler_output),
            encoder=encoded,
        )


def _masked_lm_head(config: BertConfig) -> MaskedLMHead:
    return MaskedLMHead(
        hidden_size=config.hidden_size,
        embedding_size=config.hidden_size,
        vocab_size=config.vocab_size,
        hidden_act=config.hidden_act,
        layer_norm_eps=config.layer_norm_eps,
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
        "masked_lm.dense": "cls.predictions.transform.dense",
        "masked_lm.norm": "cls.predictions.transform.LayerNorm",
        "masked_lm": "cls.predictions",
        "next_sentence": "cls.seq_relationship",
    },
    # Copies of other weights, and positions that are only counted: not parameters of ours.
    redundant=("cls.predictions.decoder.weight", "cls.predictions.decoder.bias", "embeddings.position_ids"),
)
