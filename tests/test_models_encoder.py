"""An encoder that is asked for some rows only gives those of the whole, packed and padded, forward and backward.

Run: .venv/bin/python -m pytest tests/test_models_encoder.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from reference import padded, ragged
from unmask.models.albert import AlbertConfig
from unmask.models.bert import BertConfig
from unmask.models.electra import ElectraConfig
from unmask.models.gpt import GPTConfig, OpenAIGPTConfig
from unmask.models.registry import build_model
from unmask.models.roberta import RobertaConfig

if TYPE_CHECKING:
    from torch import Tensor, nn

    from unmask.models.config import ModelConfig
    from unmask.models.outputs import EncoderOutput

LENGTHS = [5, 1, 13, 2, 37, 7, 64, 3]
ROWS = [0, 3, 4, 5, 6, 20, 21, 57, 100]  # of the packed tokens; two of the third sequence, none of the last
SIZES = {"vocab_size": 1000, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 3}
CONFIGS: dict[str, ModelConfig] = {
    "bert": BertConfig(**SIZES, intermediate_size=48),
    "roberta": RobertaConfig(**SIZES, intermediate_size=48, max_position_embeddings=80),
    "albert": AlbertConfig(**SIZES, intermediate_size=48, embedding_size=8, hidden_dropout_prob=0.1),
    "electra": ElectraConfig(**SIZES, intermediate_size=48, embedding_size=8),
    "gpt2": GPTConfig(**SIZES, intermediate_size=48),  # a norm before each part, and one at the end
    "openai-gpt": OpenAIGPTConfig(**SIZES, intermediate_size=96),
}


@pytest.mark.parametrize("has_dropout", [False, True], ids=["quiet", "dropout"])
@pytest.mark.parametrize("is_padded", [False, True], ids=["packed", "padded"])
@pytest.mark.parametrize("name", CONFIGS)
def test_rows_are_those_of_the_whole(name: str, is_padded: bool, has_dropout: bool) -> None:
    model = build_model(CONFIGS[name], "encoder", seed=0).train(has_dropout)
    batch = ragged(LENGTHS, seeds=True)
    rows = torch.tensor(ROWS)
    if is_padded:
        batch = padded(batch)
        rows = batch.attention_mask.bool().flatten().nonzero().squeeze(1)[rows]
    whole: EncoderOutput = model(batch)
    hidden = whole.last_hidden_state.flatten(0, -2)[rows]
    expected = gradients(model, hidden, whole.pooler_output)
    some: EncoderOutput = model(batch, rows=rows)
    assert some.last_hidden_state.shape == (len(ROWS), 24)
    torch.testing.assert_close(some.last_hidden_state, hidden, rtol=1e-5, atol=1e-6)
    if whole.pooler_output is not None:
        torch.testing.assert_close(some.pooler_output, whole.pooler_output, rtol=1e-5, atol=1e-6)
    found = gradients(model, some.last_hidden_state, some.pooler_output)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_no_rows_but_the_poolers() -> None:
    model = build_model(CONFIGS["bert"], "encoder", seed=0).eval()
    batch = ragged(LENGTHS)
    output = model(batch, rows=batch.first_rows[:0])
    assert output.last_hidden_state.shape == (0, 24)
    torch.testing.assert_close(output.pooler_output, model(batch).pooler_output, rtol=1e-5, atol=1e-6)


def test_every_layer_but_the_last_is_whole() -> None:
    model = build_model(CONFIGS["bert"], "encoder", seed=0).eval()
    output = model(ragged(LENGTHS), rows=torch.tensor(ROWS), output_hidden_states=True, output_attentions=True)
    assert [len(states) for states in output.hidden_states] == [sum(LENGTHS)] * 3 + [len(ROWS)]
    assert [maps.shape for maps in output.attentions] == [(len(LENGTHS), 3, 64, 64)] * 3


def gradients(model: nn.Module, hidden: Tensor, pooled: Tensor | None) -> dict[str, Tensor]:
    model.zero_grad()
    weights = torch.linspace(-1, 1, hidden.numel()).view(hidden.shape)  # a loss that tells rows and columns apart
    loss = (hidden * weights).sum()
    if pooled is not None:
        loss = loss + pooled.square().sum()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}
