"""The published sizes, as the papers' tables have them: a row of numbers each, found under the names of the hub.

Columns: L layers, H hidden size, A attention heads, I width of the feed-forward part, E embedding size, V vocabulary,
P positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unmask.models.albert import AlbertConfig
from unmask.models.bert import BertConfig
from unmask.models.electra import ElectraConfig
from unmask.models.gpt import GPTConfig, OpenAIGPTConfig
from unmask.models.roberta import RobertaConfig

if TYPE_CHECKING:
    from unmask.models.config import ModelConfig

__all__ = ["PUBLISHED_NAMES", "published_config"]

_Table = dict[str, tuple[int, ...]]

# fmt: off

# Devlin et al. 2019 (arXiv:1810.04805), section 3; the smaller ones Turc et al. 2019 (arXiv:1908.08962), section 3.
_BERT: _Table = {                                  # L     H   A     I       V
    "prajjwal1/bert-tiny":                         ( 2,  128,  2,  512,  30522),
    "prajjwal1/bert-mini":                         ( 4,  256,  4, 1024,  30522),
    "prajjwal1/bert-small":                        ( 4,  512,  8, 2048,  30522),
    "prajjwal1/bert-medium":                       ( 8,  512,  8, 2048,  30522),
    "google/bert_uncased_L-2_H-128_A-2":           ( 2,  128,  2,  512,  30522),
    "google/bert_uncased_L-4_H-256_A-4":           ( 4,  256,  4, 1024,  30522),
    "google/bert_uncased_L-4_H-512_A-8":           ( 4,  512,  8, 2048,  30522),
    "google/bert_uncased_L-8_H-512_A-8":           ( 8,  512,  8, 2048,  30522),
    "google-bert/bert-base-uncased":               (12,  768, 12, 3072,  30522),
    "google-bert/bert-base-cased":                 (12,  768, 12, 3072,  28996),
    "google-bert/bert-base-multilingual-uncased":  (12,  768, 12, 3072, 105879),
    "google-bert/bert-base-multilingual-cased":    (12,  768, 12, 3072, 119547),
    "google-bert/bert-large-uncased":              (24, 1024, 16, 4096,  30522),
    "google-bert/bert-large-cased":                (24, 1024, 16, 4096,  28996),
}

# Liu et al. 2019 (arXiv:1907.11692), table 9.
_ROBERTA: _Table = {                               # L     H   A     I       V
    "FacebookAI/roberta-base":                     (12,  768, 12, 3072,  50265),
    "FacebookAI/roberta-large":                    (24, 1024, 16, 4096,  50265),
}

# Lan et al. 2020 (arXiv:1909.11942), table 1. All layers are one.
_ALBERT: _Table = {                                # L     H   A      I      V    E
    "albert/albert-base-v2":                       (12,  768, 12,  3072, 30000, 128),
    "albert/albert-large-v2":                      (24, 1024, 16,  4096, 30000, 128),
    "albert/albert-xlarge-v2":                     (24, 2048, 16,  8192, 30000, 128),
    "albert/albert-xxlarge-v2":                    (12, 4096, 64, 16384, 30000, 128),
}

# Clark et al. 2020 (arXiv:2003.10555), table 6. The small generator that was released is as large as its discriminator.
_ELECTRA: _Table = {                               # L     H   A     I      V     E
    "google/electra-small-discriminator":          (12,  256,  4, 1024, 30522,  128),
    "google/electra-small-generator":              (12,  256,  4, 1024, 30522,  128),
    "google/electra-base-discriminator":           (12,  768, 12, 3072, 30522,  768),
    "google/electra-base-generator":               (12,  256,  4, 1024, 30522,  768),
    "google/electra-large-discriminator":          (24, 1024, 16, 4096, 30522, 1024),
    "google/electra-large-generator":              (24,  256,  4, 1024, 30522, 1024),
}

# Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training", section 4.1.
_OPENAI_GPT: _Table = {                            # L     H   A     I      V
    "openai-community/openai-gpt":                 (12,  768, 12, 3072, 40478),
}

# Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", table 2; the heads from the release.
_GPT2: _Table = {                                  # L     H   A     I      V
    "openai-community/gpt2":                       (12,  768, 12, 3072, 50257),
    "openai-community/gpt2-medium":                (24, 1024, 16, 4096, 50257),
    "openai-community/gpt2-large":                 (36, 1280, 20, 5120, 50257),
    "openai-community/gpt2-xl":                    (48, 1600, 25, 6400, 50257),
}

# fmt: on

PUBLISHED_NAMES = (*_BERT, *_ROBERTA, *_ALBERT, *_ELECTRA, *_OPENAI_GPT, *_GPT2)


def published_config(name: str) -> ModelConfig | None:
    """Find a published size: by its name on the hub, or the part of it behind the slash. None if it is not here."""
    whole = name if "/" in name else next((known for known in PUBLISHED_NAMES if known.endswith(f"/{name}")), name)
    if row := _BERT.get(whole):
        return BertConfig(**_common(*row), max_position_embeddings=512, type_vocab_size=2)
    if row := _ROBERTA.get(whole):  # two of its 514 positions come before the first token's
        return RobertaConfig(**_common(*row), max_position_embeddings=514, type_vocab_size=1)
    if row := _ALBERT.get(whole):
        return AlbertConfig(**_common(*row[:5]), embedding_size=row[5], max_position_embeddings=512, type_vocab_size=2)
    if row := _ELECTRA.get(whole):
        return ElectraConfig(**_common(*row[:5]), embedding_size=row[5], max_position_embeddings=512, type_vocab_size=2)
    if row := _OPENAI_GPT.get(whole):
        return OpenAIGPTConfig(**_common(*row), max_position_embeddings=512)
    if row := _GPT2.get(whole):
        return GPTConfig(**_common(*row), max_position_embeddings=1024)
    return None


def _common(layers: int, hidden: int, heads: int, intermediate: int, vocab: int) -> dict[str, Any]:
    return {
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "intermediate_size": intermediate,
        "vocab_size": vocab,
    }
