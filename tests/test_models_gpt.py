"""GPT-1 and GPT-2 against transformers: the same numbers forward and backward, dropout off and on, packed and padded.

Run: .venv/bin/python -m pytest tests/test_models_gpt.py
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
import torch.nn.functional as F

from reference import CountedDropout, one_by_one, ours_of, padded, ragged
from unmask import hub
from unmask.errors import CheckpointError
from unmask.models.gpt import GPT2, OPENAI_GPT, GPTConfig, OpenAIGPTConfig
from unmask.models.registry import build_model, export_weights, load_model, named_parameters, read_model_config
from unmask.packing import pack

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from unmask.packing import PaddedBatch

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
LENGTHS = [5, 1, 13, 2, 37, 7, 64, 3]  # several groups of rows, and several sequences to a row
FAMILIES = ["GPT2", "OpenAIGPT"]
# Every size and every probability a different number, so that none can take the place of another.
TINY = {"vocab_size": 101, "n_embd": 33, "n_layer": 3, "n_head": 3, "n_positions": 71}
DROPOUT = {"embd_pdrop": 0.07, "resid_pdrop": 0.19, "attn_pdrop": 0.31}


def hf_gpt(family: str, head: str, *, seed: int = 0, **overrides: Any) -> nn.Module:
    """Make a random transformers model whose biases and norms are random too."""
    import transformers

    settings = {**TINY, **dict.fromkeys(DROPOUT, 0.0), **overrides}
    config = getattr(transformers, f"{family}Config")(**settings, attn_implementation="eager")
    torch.manual_seed(seed)
    model = getattr(transformers, f"{family}{head}")(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def inputs(batch: PaddedBatch) -> dict[str, Tensor]:
    return {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}


def gradients_under_their_names(model: nn.Module) -> dict[str, Tensor]:
    family = GPT2 if isinstance(model.config, GPTConfig) else OPENAI_GPT
    from_plain = family.weights(model.config).from_plain
    assert from_plain is not None
    return dict(from_plain({name: parameter.grad for name, parameter in named_parameters(model)}))


def assert_gradients_agree(ours: nn.Module, theirs: nn.Module) -> None:
    gradients = gradients_under_their_names(ours)
    expected = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    assert gradients.keys() == expected.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], **TOLERANCE, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("lengths", [[1], [23], LENGTHS, [11] * 17], ids=["one_token", "one", "many", "equal"])
def test_every_hidden_state_and_map_packed_padded_and_alone(tmp_path: Path, family: str, lengths: list[int]) -> None:
    reference = hf_gpt(family, "Model")
    model = ours_of(reference, tmp_path)
    batch = ragged(lengths)
    rectangle = padded(batch, length=batch.max_seqlen + 2)
    with torch.no_grad():
        expected = reference(**inputs(rectangle), output_hidden_states=True, output_attentions=True)
        packed = model(batch, output_hidden_states=True, output_attentions=True)
        boxed = model(rectangle, output_hidden_states=True, output_attentions=True)
        alone = [model(single) for single in one_by_one(batch)]
    is_real = rectangle.attention_mask.bool()
    assert len(packed.hidden_states) == len(boxed.hidden_states) == len(expected.hidden_states) == 4
    for theirs, ours, in_box in zip(expected.hidden_states, packed.hidden_states, boxed.hidden_states, strict=True):
        torch.testing.assert_close(ours, theirs[is_real], **TOLERANCE)
        torch.testing.assert_close(in_box[is_real], theirs[is_real], **TOLERANCE)
    torch.testing.assert_close(packed.last_hidden_state, expected.last_hidden_state[is_real], **TOLERANCE)
    torch.testing.assert_close(torch.cat([o.last_hidden_state for o in alone]), packed.last_hidden_state, **TOLERANCE)
    longest, real_rows = batch.max_seqlen, is_real[:, None, :, None]
    assert len(packed.attentions) == 3
    for theirs, ours, in_box in zip(expected.attentions, packed.attentions, boxed.attentions, strict=True):
        theirs = theirs * real_rows
        torch.testing.assert_close(ours, theirs[:, :, :longest, :longest], **TOLERANCE)
        torch.testing.assert_close(in_box * real_rows, theirs, **TOLERANCE)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dropout", ["off", "on"])
@pytest.mark.parametrize("layout", ["packed", "padded", "one_by_one"])
def test_classifier_trains_as_transformers_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, dropout: str, layout: str
) -> None:
    settings = DROPOUT if dropout == "on" else {}
    reference = hf_gpt(family, "ForSequenceClassification", num_labels=5, pad_token_id=0, **settings)
    model = ours_of(reference, tmp_path).train()
    reference.train()
    batch = ragged(LENGTHS, seeds=True)
    rectangle = padded(batch)
    labels = torch.arange(len(LENGTHS)) % 5
    if layout == "one_by_one":
        logits = torch.cat([model(single).logits for single in one_by_one(batch)])
    else:
        logits = model(batch if layout == "packed" else rectangle).logits
    F.cross_entropy(logits, labels).backward()
    with monkeypatch.context() as patch:
        patch.setattr(F, "dropout", CountedDropout(rectangle))
        expected = reference(**inputs(rectangle), labels=labels)
    expected.loss.backward()
    torch.testing.assert_close(logits, expected.logits, **TOLERANCE)
    assert_gradients_agree(model, reference)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layout", ["packed", "padded"])
def test_language_model_trains_as_transformers_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, layout: str
) -> None:
    reference = hf_gpt(family, "LMHeadModel", **DROPOUT).train()
    model = ours_of(reference, tmp_path).train()
    batch = ragged(LENGTHS, seeds=True)
    rectangle = padded(batch)
    is_real = rectangle.attention_mask.bool()
    has_next = torch.ones(batch.total_tokens, dtype=torch.bool)
    has_next[batch.cu_seqlens[1:].long() - 1] = False
    rows, words = has_next.nonzero()[:, 0], batch.input_ids.roll(-1)[has_next]
    logits = model(batch, rows).logits if layout == "packed" else model(rectangle).logits[is_real][rows]
    loss = F.cross_entropy(logits, words)
    loss.backward()
    with monkeypatch.context() as patch:
        patch.setattr(F, "dropout", CountedDropout(rectangle))
        expected = reference(
            **inputs(rectangle), labels=rectangle.input_ids.masked_fill(~is_real, -100)
        )  # shifted inside
    expected.loss.backward()
    torch.testing.assert_close(logits, expected.logits[is_real][rows], **TOLERANCE)
    torch.testing.assert_close(loss, expected.loss, **TOLERANCE)
    assert_gradients_agree(model, reference)


def test_no_token_sees_the_future(tmp_path: Path) -> None:
    model = ours_of(hf_gpt("GPT2", "Model"), tmp_path)
    batch = ragged([9, 17])
    changed = batch.input_ids.clone()
    changed[5:] = 50
    with torch.no_grad():
        before = model(batch).last_hidden_state
        after = model(type(batch)(**{**vars(batch), "input_ids": changed})).last_hidden_state
    assert torch.equal(before[:5], after[:5])
    assert not torch.allclose(before[5:], after[5:], atol=1e-3)


def test_the_classifier_reads_the_last_token_that_is_not_padding_by_its_id(tmp_path: Path) -> None:
    reference = hf_gpt("GPT2", "ForSequenceClassification", num_labels=3, pad_token_id=7)
    model = ours_of(reference, tmp_path)
    texts = [[5, 6, 7, 8, 9], [5, 6, 8, 7, 7], [7, 7], [9, 7]]  # the second and the last end in it, the third is it
    rectangle = torch.full((4, 6), 7)
    for row, text in enumerate(texts):
        rectangle[row, : len(text)] = torch.tensor(text)
    batch = pack(texts)
    in_box = padded(batch, length=6)
    with torch.no_grad():
        expected = reference(input_ids=rectangle, attention_mask=in_box.attention_mask).logits
        torch.testing.assert_close(model(batch).logits, expected, **TOLERANCE)
        torch.testing.assert_close(model(in_box).logits, expected, **TOLERANCE)
        hidden = model.encoder(batch).last_hidden_state
        model.classifier.pad_token_id = None
        torch.testing.assert_close(model(batch).logits, model.classifier.linear(hidden[[4, 9, 11, 13]]), **TOLERANCE)
        torch.testing.assert_close(model(in_box).logits, model(batch).logits, **TOLERANCE)
    assert torch.equal(rectangle[[2]], torch.full((1, 6), 7))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("head", ["Model", "ForSequenceClassification", "LMHeadModel"])
def test_what_is_loaded_and_saved_is_theirs_to_the_bit(tmp_path: Path, family: str, head: str) -> None:
    import transformers

    reference = hf_gpt(family, head, num_labels=5, pad_token_id=0)
    model = ours_of(reference, tmp_path / "theirs")
    config, weights = export_weights(model)
    hub.save_model_folder(tmp_path / "ours", config=config, weights=weights)
    theirs, ours = hub.read_weights(tmp_path / "theirs"), hub.read_weights(tmp_path / "ours")
    assert theirs.keys() == ours.keys()
    for name, tensor in theirs.items():
        assert torch.equal(tensor, ours[name]), name
    loaded, info = getattr(transformers, f"{family}{head}").from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(info.values()), info
    saved = json.loads((tmp_path / "theirs" / "config.json").read_text())
    assert saved.pop("n_inner", None) is None  # their word for four times as wide, which ours spells out
    for key, value in saved.items():
        if key not in ("transformers_version", "dtype"):
            assert config[key] == value, key
    batch = padded(ragged(LENGTHS))
    is_real = batch.attention_mask.bool()
    with torch.no_grad():
        expected, output = loaded.eval()(**inputs(batch)), model(batch)
    name = "last_hidden_state" if head == "Model" else "logits"
    mine, other = getattr(output, name), expected[name]
    torch.testing.assert_close(*((mine[is_real], other[is_real]) if other.dim() == 3 else (mine, other)), **TOLERANCE)
    again, report = load_model(tmp_path / "ours")
    assert report.is_exact
    for name, parameter in model.state_dict().items():
        assert torch.equal(parameter, again.state_dict()[name])


def test_older_checkpoints_hold_masks_and_a_copy_of_the_embeddings(tmp_path: Path) -> None:
    """The published gpt2 has no prefix and a mask a layer; other checkpoints have the tied matrix too."""
    reference = hf_gpt("GPT2", "LMHeadModel")
    reference.save_pretrained(tmp_path / "new")
    weights = {name.removeprefix("transformer."): tensor for name, tensor in hub.read_weights(tmp_path / "new").items()}
    weights |= {f"h.{layer}.attn.bias": torch.ones(1, 1, 71, 71).tril() for layer in range(3)}
    weights["h.0.attn.masked_bias"] = torch.tensor(-1e4)
    weights["lm_head.weight"] = weights["wte.weight"].clone()
    hub.save_model_folder(tmp_path / "old", config=hub.read_config(tmp_path / "new"), weights=weights)
    model, report = load_model(tmp_path / "old")
    assert report.is_exact
    assert torch.equal(model.encoder.embeddings.word.weight, reference.transformer.wte.weight)


def test_gpt2_agrees_at_full_size(tmp_path: Path) -> None:
    reference = hf_gpt(
        "GPT2", "LMHeadModel", vocab_size=50257, n_embd=768, n_layer=12, n_head=12, n_positions=1024
    ).train()
    model = ours_of(reference, tmp_path).train()
    assert sum(p.numel() for p in model.parameters()) == 124_439_808
    batch = ragged([300, 1, 31, 12], vocab_size=50257)
    rectangle = padded(batch)
    is_real = rectangle.attention_mask.bool()
    rows = torch.tensor([0, 17, 299, 300, 331, 343])
    expected = reference(**inputs(rectangle), output_hidden_states=True)
    with torch.no_grad():
        encoded = model.encoder(batch, output_hidden_states=True)
    for theirs, ours in zip(expected.hidden_states, encoded.hidden_states, strict=True):
        scale = theirs[is_real].abs().max().clamp(min=1.0)  # noise of 0.1 on every weight makes residuals of hundreds
        torch.testing.assert_close(ours / scale, theirs[is_real] / scale, **TOLERANCE)
    logits = model(batch, rows).logits
    theirs = expected.logits[is_real][rows]
    scale = theirs.abs().max()
    torch.testing.assert_close(logits / scale, theirs / scale, **TOLERANCE)
    (logits.log_softmax(-1)[:, 17]).mean().backward()
    (theirs.log_softmax(-1)[:, 17]).mean().backward()
    gradients = gradients_under_their_names(model)
    for name, parameter in reference.named_parameters():
        scale = parameter.grad.abs().max().clamp(min=1e-6)
        torch.testing.assert_close(gradients[name] / scale, parameter.grad / scale, rtol=1e-5, atol=1e-4)


class TestConfig:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx True is not supported"),
            ({"reorder_and_upcast_attn": True}, "reorder_and_upcast_attn True is not supported"),
            ({"scale_attn_weights": False}, "scale_attn_weights False is not supported"),
            ({"add_cross_attention": True}, "add_cross_attention True is not supported"),
            ({"n_embd": 34}, "n_embd 34 is not a multiple of n_head 3"),
            ({"n_positions": 0}, "n_positions must be a positive integer, not 0"),
            ({"embd_pdrop": 1.0}, r"embd_pdrop must lie in \[0, 1\), not 1.0"),
            ({"activation_function": "mish"}, "activation_function 'mish' is unknown"),
            ({"model_type": "openai-gpt", "afn": "gelu_new"}, "afn 'gelu_new' is unknown; it is one of swish, gelu"),
        ],
    )
    def test_what_is_refused(self, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", **TINY, **changes}))
        with pytest.raises(CheckpointError, match=message):
            read_model_config(tmp_path)

    def test_a_gpt_1_is_four_times_as_wide_inside(self) -> None:
        assert OpenAIGPTConfig.from_dict({"n_embd": 33, "n_head": 3, "n_inner": 5}).intermediate_size == 132
        with pytest.raises(CheckpointError, match="intermediate_size of 4 times n_embd 768, not 12"):
            OpenAIGPTConfig(intermediate_size=12)
        with pytest.raises(CheckpointError, match="a GPT-1 has no activation 'gelu'"):
            OpenAIGPTConfig(hidden_act="gelu")

    @pytest.mark.parametrize("family", FAMILIES)
    def test_another_activation(self, tmp_path: Path, family: str) -> None:
        key = "afn" if family == "OpenAIGPT" else "activation_function"
        reference = hf_gpt(family, "Model", **{key: "relu"})
        model = ours_of(reference, tmp_path)
        assert model.config.hidden_act == model.config.to_dict()[key] == "relu"
        batch = ragged([13])
        with torch.no_grad():
            expected = reference(batch.input_ids[None]).last_hidden_state[0]
            torch.testing.assert_close(model(batch).last_hidden_state, expected, **TOLERANCE)

    def test_an_inner_width_of_its_own(self, tmp_path: Path) -> None:
        model = ours_of(hf_gpt("GPT2", "Model", n_inner=47), tmp_path)
        assert model.blocks[0].feed_forward.intermediate.weight.shape == (47, 33)
        assert model.config.to_dict()["n_inner"] == 47


def test_new_weights_of_the_residual_stream_start_smaller() -> None:
    sizes = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 256, "num_hidden_layers": 8}
    model = build_model(GPTConfig(**sizes, vocab_size=101), "causal-lm")
    block = model.encoder.blocks[5]
    for matrix, std in (
        (block.attention.query, 0.02),
        (block.feed_forward.intermediate, 0.02),
        (block.attention.output, 0.005),
        (block.feed_forward.output, 0.005),
    ):
        assert matrix.weight.std().item() == pytest.approx(std, rel=0.05)
    first = build_model(OpenAIGPTConfig(**sizes, vocab_size=101), "encoder")
    assert first.blocks[5].feed_forward.output.weight.std().item() == pytest.approx(0.02, rel=0.05)
