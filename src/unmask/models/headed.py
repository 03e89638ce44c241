"""An encoder with a head on it: one class for each thing a model can be asked, whatever its family.

Axes: T packed tokens, B sequences, M rows asked for, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch.nn.functional as F
from torch import nn

from unmask.models.outputs import (
    CausalLMOutput,
    MaskedLMOutput,
    NextSentenceOutput,
    PreTrainingOutput,
    QuestionAnsweringOutput,
    ReplacedTokenOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)

if TYPE_CHECKING:
    from torch import Tensor

    from unmask.models.cache import KeyValueCache
    from unmask.models.config import ModelConfig
    from unmask.models.encoder import Encoder
    from unmask.models.heads import (
        MaskedLMHead,
        PooledClassifier,
        ReplacedTokenHead,
        SequenceHead,
        TokenClassifier,
    )
    from unmask.packing import PackedBatch, PaddedBatch

__all__ = [
    "ForCausalLM",
    "ForMaskedLM",
    "ForNextSentencePrediction",
    "ForPreTraining",
    "ForQuestionAnswering",
    "ForReplacedTokenDetection",
    "ForSequenceClassification",
    "ForTokenClassification",
]


class ForSequenceClassification(nn.Module):
    """A label for each text or pair. Devlin et al. 2019, section 4.1, figure 4 a and b."""

    head: ClassVar[str] = "sequence-classification"

    def __init__(self, config: ModelConfig, encoder: Encoder, classifier: SequenceHead) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.classifier = classifier

    def forward(self, batch: PackedBatch | PaddedBatch) -> SequenceClassifierOutput:
        encoded = self.encoder(batch, rows=self.classifier.rows(batch))
        return SequenceClassifierOutput(logits=self.classifier(encoded), encoder=encoded)


class ForTokenClassification(nn.Module):
    """A label for each token: parts of speech, named entities. Devlin et al. 2019, section 5.3, figure 4 d."""

    head: ClassVar[str] = "token-classification"

    def __init__(self, config: ModelConfig, encoder: Encoder, token_classifier: TokenClassifier) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.token_classifier = token_classifier

    def forward(self, batch: PackedBatch | PaddedBatch, rows: Tensor | None = None) -> TokenClassifierOutput:
        """Label these rows of the packed tokens, int64 (M,), such as the first pieces of words; all rows if None."""
        encoded = self.encoder(batch, rows=rows)
        return TokenClassifierOutput(logits=self.token_classifier(encoded, rows), encoder=encoded)


class ForQuestionAnswering(nn.Module):
    """Where in a text the answer to a question starts and ends. Devlin et al. 2019, section 4.2, figure 4 c.

    Args:
        config: of the encoder.
        encoder: reads the question and the text as one sequence.
        qa_outputs: (T, D) -> (T, 2): the vectors S and E of the paper.
    """

    head: ClassVar[str] = "question-answering"

    def __init__(self, config: ModelConfig, encoder: Encoder, qa_outputs: nn.Linear) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.qa_outputs = qa_outputs

    def forward(self, batch: PackedBatch | PaddedBatch) -> QuestionAnsweringOutput:
        encoded = self.encoder(batch)
        return QuestionAnsweringOutput(logits=self.qa_outputs(encoded.last_hidden_state), encoder=encoded)


class ForMaskedLM(nn.Module):
    """The words behind [MASK]; ELECTRA's generator. Devlin et al. 2019, section 3.1, task 1."""

    head: ClassVar[str] = "masked-lm"

    def __init__(self, config: ModelConfig, encoder: Encoder, masked_lm: MaskedLMHead) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.masked_lm = masked_lm

    def forward(self, batch: PackedBatch | PaddedBatch, rows: Tensor | None = None) -> MaskedLMOutput:
        """Guess the words at these rows of the packed tokens, int64 (M,); at all rows if None."""
        encoded = self.encoder(batch, rows=rows)
        logits = self.masked_lm(encoded.last_hidden_state, self.encoder.embeddings.word.table)
        return MaskedLMOutput(logits=logits, encoder=encoded)


class ForNextSentencePrediction(nn.Module):
    """Does the second text follow the first? Label 0 says it does, as in Google's checkpoints.

    Devlin et al. 2019, section 3.1, task 2. ALBERT asks by the same head whether two texts are in order: label 0 says
    they are (Lan et al. 2020, arXiv:1909.11942, section 3.1).
    """

    head: ClassVar[str] = "next-sentence"

    def __init__(self, config: ModelConfig, encoder: Encoder, next_sentence: SequenceHead) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.next_sentence = next_sentence

    def forward(self, batch: PackedBatch | PaddedBatch) -> NextSentenceOutput:
        encoded = self.encoder(batch, rows=self.next_sentence.rows(batch))
        return NextSentenceOutput(logits=self.next_sentence(encoded), encoder=encoded)


class ForPreTraining(nn.Module):
    """Masked words and pairs of texts on one encoder, as BERT and ALBERT were pretrained. Appendix A.2."""

    head: ClassVar[str] = "pre-training"

    def __init__(
        self, config: ModelConfig, encoder: Encoder, masked_lm: MaskedLMHead, next_sentence: PooledClassifier
    ) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.masked_lm = masked_lm
        self.next_sentence = next_sentence

    def forward(self, batch: PackedBatch | PaddedBatch, rows: Tensor | None = None) -> PreTrainingOutput:
        """As `ForMaskedLM` and `ForNextSentencePrediction`, in one pass."""
        encoded = self.encoder(batch, rows=rows)
        word_embeddings = self.encoder.embeddings.word.table
        return PreTrainingOutput(
            prediction_logits=self.masked_lm(encoded.last_hidden_state, word_embeddings),
            seq_relationship_logits=self.next_sentence(encoded),
            encoder=encoded,
        )


class ForReplacedTokenDetection(nn.Module):
    """Which tokens are not the writer's; ELECTRA's discriminator. Clark et al. 2020 (arXiv:2003.10555), section 2."""

    head: ClassVar[str] = "replaced-token"

    def __init__(self, config: ModelConfig, encoder: Encoder, replaced_token: ReplacedTokenHead) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.replaced_token = replaced_token

    def forward(self, batch: PackedBatch | PaddedBatch) -> ReplacedTokenOutput:
        encoded = self.encoder(batch)
        return ReplacedTokenOutput(logits=self.replaced_token(encoded.last_hidden_state), encoder=encoded)


class ForCausalLM(nn.Module):
    """The token after each, by the word embeddings themselves. Radford et al. 2018, section 3.1."""

    head: ClassVar[str] = "causal-lm"

    def __init__(self, config: ModelConfig, encoder: Encoder) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder

    def forward(
        self,
        batch: PackedBatch | PaddedBatch,
        rows: Tensor | None = None,
        *,
        cache: KeyValueCache | None = None,
    ) -> CausalLMOutput:
        """Guess what follows these rows of the packed tokens, int64 (M,); what follows each row if None.

        The cache is `Encoder.forward`'s.
        """
        encoded = self.encoder(batch, rows=rows, cache=cache)
        logits = F.linear(encoded.last_hidden_state, self.encoder.embeddings.word.table)
        return CausalLMOutput(logits=logits, encoder=encoded)
