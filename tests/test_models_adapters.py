"""LoRA: the base model at the start, the same numbers when merged, and folders as PEFT has them.

PEFT's rules (which modules a configuration means, which rank and alpha, how a pair becomes a difference) are applied
here to transformers' own models. Run: pytest tests/test_models_adapters.py
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from reference import DIFFERENCES, TINY, hf_model, ours_of, padded, ragged
from unmask.errors import CheckpointError, SettingsError
from unmask.models.adapters import (
    LoRALinear,
    add_lora,
    load_lora,
    lora_layers,
    lora_state_dict,
    merge_lora,
    save_lora,
)
from unmask.models.registry import FAMILIES, build_model, export_weights, is_of_head, load_model

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from unmask.packing import PackedBatch

LENGTHS = [5, 1, 13, 2, 7]
GPT_SIZES = {name: size for name, size in TINY.items() if name not in ("type_vocab_size", "intermediate_size")}
TARGETS = [("query", "value"), ("all",), ("key",), ("output",), ("query", "attention_output", "intermediate")]


def new_model(model_type: str, head: str = "sequence-classification", **sizes: Any) -> nn.Module:
    """A tiny random model whose biases and norms are random too."""
    own = (
        {**GPT_SIZES, "intermediate_size": 132} if "gpt" in model_type else {**TINY, **DIFFERENCES.get(model_type, {})}
    )
    model = build_model(FAMILIES[model_type].config(**own | sizes), head, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


def train_adapters(model: nn.Module, *, seed: int = 3) -> nn.Module:
    """Stand in for training: random numbers in every B, and in the head."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("lora_B") or is_of_head(model, name):
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


def batch_of(**options: Any) -> PackedBatch:
    return ragged(LENGTHS, lowest=4, **options)


def logits_of(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model.eval()(batch_of()).logits


# The layer


def test_a_layer_by_hand() -> None:
    linear = nn.Linear(2, 3)
    linear.weight.data = torch.tensor([[1.0, 2], [3, 4], [5, 6]])
    linear.bias.data = torch.tensor([10.0, 20, 30])
    layer = LoRALinear(linear, rank=1, alpha=0.5)
    assert layer.weight is linear.weight
    layer.lora_A.data = torch.tensor([[1.0, -1]])
    layer.lora_B.data = torch.tensor([[2.0], [0], [4]])
    hidden = torch.tensor([[7.0, 3]])  # A x = 4, times 0.5 is 2: B makes 4, 0 and 8 of it
    assert layer(hidden).tolist() == [[7 + 6 + 10 + 4, 21 + 12 + 20, 35 + 18 + 30 + 8]]
    merged = layer.merged()
    assert type(merged) is nn.Linear
    assert merged.weight.tolist() == [[2, 1], [3, 4], [7, 4]]
    assert merged(hidden).tolist() == layer(hidden).tolist()


def test_the_gradients_of_a_layer_are_those_of_the_sum_of_matrices() -> None:
    torch.manual_seed(0)
    layer = LoRALinear(nn.Linear(11, 7), rank=3, alpha=5.0)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    weight, a, b = (value.detach().clone().requires_grad_() for value in (layer.weight, layer.lora_A, layer.lora_B))
    hidden, upstream = torch.randn(13, 11), torch.randn(13, 7)
    (layer(hidden) * upstream).sum().backward()
    (F.linear(hidden, weight + 5 / 3 * (b @ a), layer.bias.detach()) * upstream).sum().backward()
    for ours, expected in ((layer.weight, weight), (layer.lora_A, a), (layer.lora_B, b)):
        torch.testing.assert_close(ours.grad, expected.grad, rtol=1e-5, atol=1e-4)


# On a model


@pytest.mark.parametrize("is_training", [False, True])
@pytest.mark.parametrize("model_type", FAMILIES)
def test_the_start_is_the_base_model_to_the_bit(model_type: str, is_training: bool) -> None:
    model, batch = new_model(model_type).train(is_training), batch_of(seeds=True)
    names = [name for name, _ in model.named_parameters()]
    before = model(batch).logits
    add_lora(model, rank=5, targets=("all",))
    assert torch.equal(model(batch).logits, before)
    assert len(lora_layers(model)) == (6 if model_type == "albert" else 18)  # three layers; ALBERT's are one
    assert all(layer.training == is_training for layer in lora_layers(model).values())
    added = [name for name, _ in model.named_parameters() if name not in names]
    assert {name.rpartition(".")[2] for name in added} == {"lora_A", "lora_B"}
    assert [name for name, _ in model.named_parameters() if name not in added] == names


def test_targets_and_first_block_say_where_adapters_are() -> None:
    model = new_model("bert")
    add_lora(model, rank=2, targets=("attention_output", "intermediate", "output"), first_block=1)
    places = ("attention.output", "feed_forward.intermediate", "feed_forward.output")
    assert list(lora_layers(model)) == [f"encoder.blocks.{block}.{place}" for block in (1, 2) for place in places]
    shapes = [(tuple(layer.lora_A.shape), tuple(layer.lora_B.shape)) for layer in lora_layers(model).values()]
    assert shapes == [((2, 33), (33, 2)), ((2, 33), (47, 2)), ((2, 47), (33, 2))] * 2
    model = new_model("bert")
    add_lora(model)
    assert {name.rpartition(".")[2] for name in lora_layers(model)} == {"query", "value"}


def test_a_is_uniform_in_the_bounds_of_its_width_and_of_its_seed_alone() -> None:
    model, again, other = (new_model("bert", hidden_size=144, num_attention_heads=3) for _ in range(3))
    torch.manual_seed(0)
    add_lora(model, rank=32, seed=4)
    torch.manual_seed(1)
    add_lora(again, rank=32, seed=4)
    add_lora(other, rank=32, seed=5)
    values = torch.cat([layer.lora_A.flatten() for layer in lora_layers(model).values()])
    assert 0.99 / 12 < values.abs().max() <= 1 / 12  # 1 / sqrt(144)
    assert values.std().item() == pytest.approx(1 / 12 / 3**0.5, rel=0.02)
    assert not any(layer.lora_B.any() for layer in lora_layers(model).values())
    state = lora_state_dict(model)
    assert all(torch.equal(value, state[name]) for name, value in lora_state_dict(again).items())
    assert not torch.equal(next(iter(lora_state_dict(other).values())), next(iter(state.values())))


@pytest.mark.parametrize("model_type", FAMILIES)
def test_merged_is_a_plain_model_with_the_same_logits(model_type: str) -> None:
    model, base = new_model(model_type), new_model(model_type)
    add_lora(model, rank=5, alpha=3.0, targets=("all",))
    train_adapters(model)
    expected = logits_of(model)
    assert (expected - logits_of(base)).abs().max() > 0.1
    merge_lora(model)
    assert not lora_layers(model)
    torch.testing.assert_close(logits_of(model), expected, rtol=1e-6, atol=1e-6)
    assert model.state_dict().keys() == base.state_dict().keys()
    is_changed = {
        name: not torch.equal(value, base.state_dict()[name])
        for name, value in model.state_dict().items()
        if not is_of_head(model, name)
    }
    assert {name for name, changed in is_changed.items() if changed} == {
        name for name in is_changed if ".blocks." in name and name.endswith("weight") and "norm" not in name
    }


def test_a_merged_model_is_saved_and_loaded_like_any_other(tmp_path: Path) -> None:
    from unmask import hub

    model = new_model("gpt2")
    add_lora(model, rank=3)
    expected = logits_of(train_adapters(model))
    merge_lora(model)
    config, weights = export_weights(model)
    hub.save_model_folder(tmp_path / "model", config=config, weights=weights)
    loaded, report = load_model(tmp_path / "model")
    assert report.is_exact
    torch.testing.assert_close(logits_of(loaded), expected, rtol=1e-6, atol=1e-6)


def test_adapters_that_cannot_be_added_are_refused() -> None:
    model = new_model("bert")
    with pytest.raises(SettingsError, match=r"^lora_rank is 34: this model's attention.query has at most rank 33$"):
        add_lora(model, rank=34)
    with pytest.raises(SettingsError, match=r"^lora_targets has 'keys': they are query, key, value, attention_output,"):
        add_lora(model, targets=("query", "keys"))  # type: ignore[arg-type]
    assert not lora_layers(model)
    add_lora(model)
    with pytest.raises(ValueError, match="merge them before adding others"):
        add_lora(model)


@pytest.mark.parametrize("head", ["encoder", "sequence-classification", "masked-lm", "pre-training"])
def test_the_head_is_what_stands_above_the_blocks(head: str) -> None:
    model = new_model("bert", head)
    modules = {
        name.split(".")[-3 if "pooler" in name else 0]
        for name, _ in model.named_parameters()
        if is_of_head(model, name)
    }
    assert (
        modules
        == {
            "encoder": {"pooler"},
            "sequence-classification": {"pooler", "classifier"},
            "masked-lm": {"masked_lm"},
            "pre-training": {"pooler", "masked_lm", "next_sentence"},
        }[head]
    )


# As PEFT has it


REFERENCES = {  # the beginning of its class, and sizes of its own
    "bert": ("Bert", {}),
    "roberta": ("Roberta", {}),
    "albert": ("Albert", {"num_hidden_layers": 4, "num_hidden_groups": 2, "inner_group_num": 2}),
    "electra": ("Electra", {}),
    "gpt2": ("GPT2", {"pad_token_id": 0}),
    "openai-gpt": ("OpenAIGPT", {"pad_token_id": 0}),
}
HEADS = {  # the end of its class
    "sequence-classification": "ForSequenceClassification",
    "token-classification": "ForTokenClassification",
    "question-answering": "ForQuestionAnswering",
}


def reference_of(model_type: str, head: str = "sequence-classification") -> nn.Module:
    begin, sizes = REFERENCES[model_type]
    class_name = begin + HEADS[head]
    if "gpt" not in model_type:
        return hf_model(class_name, **sizes)
    import transformers

    model_class = getattr(transformers, class_name)
    torch.manual_seed(0)
    model = model_class(
        model_class.config_class(**GPT_SIZES, intermediate_size=132, attn_implementation="eager", **sizes)
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def pattern_value(patterns: dict[str, Any], name: str, default: Any) -> Any:
    """PEFT's `get_pattern_key`."""
    return next((value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", name)), default)


def is_target(config: dict[str, Any], name: str) -> bool:
    """PEFT's `check_target_module_exists`."""
    if any(re.match(rf"(^|.*\.){module}($|\..*)", name) for module in config["modules_to_save"] or ()):
        return False
    return any(name == target or name.endswith(f".{target}") for target in config["target_modules"])


def apply_as_peft(reference: nn.Module, folder: Path) -> None:
    """Merge an adapter's folder into a transformers model."""
    config, tensors = (
        json.loads((folder / "adapter_config.json").read_bytes()),
        load_file(folder / "adapter_model.safetensors"),
    )
    assert all(name.startswith("base_model.model.") for name in tensors)
    tensors = {name.removeprefix("base_model.model."): tensor for name, tensor in tensors.items()}
    targets = {name for name, _ in reference.named_modules() if is_target(config, name)}
    assert targets == {name.partition(".lora_")[0] for name in tensors if ".lora_" in name}
    parameters = dict(reference.named_parameters())
    with torch.no_grad():
        for name in targets:
            a, b = tensors.pop(f"{name}.lora_A.weight"), tensors.pop(f"{name}.lora_B.weight")
            rank = pattern_value(config["rank_pattern"], name, config["r"])
            alpha = pattern_value(config["alpha_pattern"], name, config["lora_alpha"])
            assert a.shape[0] == b.shape[1] == rank
            scaling = alpha / (rank**0.5 if config["use_rslora"] else rank)
            difference = scaling * (b @ a)
            parameters[f"{name}.weight"].add_(difference.T if config["fan_in_fan_out"] else difference)
        for name, tensor in tensors.items():
            assert any(
                f".{name}".startswith((f".{part}.", f".{reference.base_model_prefix}.{part}."))
                for part in config["modules_to_save"]
            )
            parameters[name].copy_(tensor)


def assert_logits_agree(model: nn.Module, reference: nn.Module) -> None:
    rectangle = padded(batch_of())
    types = (
        {}
        if reference.config.model_type in ("gpt2", "openai-gpt", "roberta")
        else {"token_type_ids": rectangle.token_type_ids}
    )
    with torch.no_grad():
        output = reference(input_ids=rectangle.input_ids, attention_mask=rectangle.attention_mask, **types)
    expected = output.logits if "logits" in output else torch.stack((output.start_logits, output.end_logits), dim=-1)
    if expected.dim() == 3:  # of tokens: the real ones
        expected = expected[rectangle.attention_mask.bool()]
    torch.testing.assert_close(logits_of(model), expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("model_type", "head", "targets"),
    [
        (model_type, head, targets)
        for model_type in REFERENCES
        for head in HEADS
        if head in FAMILIES[model_type].heads
        for targets in (TARGETS if head == "sequence-classification" else TARGETS[:1])
    ],
    ids=lambda value: value if isinstance(value, str) else ",".join(value),
)
def test_a_saved_adapter_read_by_the_rules_of_peft(
    tmp_path: Path, model_type: str, head: str, targets: tuple[str, ...]
) -> None:
    reference = reference_of(model_type, head)
    model = ours_of(reference, tmp_path / "base")
    add_lora(model, rank=5, alpha=7.0, targets=targets, first_block=1)  # type: ignore[arg-type]
    save_lora(train_adapters(model), tmp_path / "adapter", base_model="someone/base")
    before = logits_of(ours_of(reference, tmp_path / "base"))
    apply_as_peft(reference, tmp_path / "adapter")
    assert_logits_agree(model, reference)
    assert (logits_of(model) - before).abs().max() > 0.01

    loaded, _ = load_model(tmp_path / "base")
    assert loaded.head == head
    load_lora(loaded, tmp_path / "adapter")
    ours, theirs = lora_state_dict(model), lora_state_dict(loaded)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    torch.testing.assert_close(logits_of(loaded), logits_of(model), rtol=0, atol=0)


def test_the_folder_of_an_adapter(tmp_path: Path) -> None:
    model = new_model("bert")
    add_lora(model, rank=5, alpha=10.0)
    save_lora(model, tmp_path / "adapter", base_model="google-bert/bert-base-uncased")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_bytes())
    expected = {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS",
        "base_model_name_or_path": "google-bert/bert-base-uncased",
        "r": 5,
        "lora_alpha": 10.0,
        "target_modules": ["query", "value"],
        "modules_to_save": ["classifier", "pooler"],
        "fan_in_fan_out": False,
    }
    assert {key: config[key] for key in expected} == expected
    shapes = {
        name: list(tensor.shape)
        for name, tensor in load_file(tmp_path / "adapter" / "adapter_model.safetensors").items()
    }
    layer = "base_model.model.bert.encoder.layer.2.attention.self.value"
    assert shapes[f"{layer}.lora_A.weight"] == [5, 33]
    assert shapes[f"{layer}.lora_B.weight"] == [33, 5]
    assert shapes["base_model.model.classifier.weight"] == [2, 33]
    assert shapes["base_model.model.bert.pooler.dense.bias"] == [33]
    assert len(shapes) == 2 * 2 * 3 + 4


def test_the_joint_layer_of_gpt_2_has_one_adapter_of_the_ranks_together(tmp_path: Path) -> None:
    model = new_model("gpt2")
    add_lora(model, rank=5, alpha=10.0, targets=("query", "value", "output"))
    save_lora(train_adapters(model), tmp_path / "adapter", base_model="gpt2")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_bytes())
    assert config["target_modules"] == ["c_attn", "mlp.c_proj"]
    ranks = {
        name: pattern_value(config["rank_pattern"], f"transformer.h.1.{name}", config["r"])
        for name in ("attn.c_attn", "mlp.c_proj")
    }
    assert ranks == {"attn.c_attn": 10, "mlp.c_proj": 5}
    b = load_file(tmp_path / "adapter" / "adapter_model.safetensors")[
        "base_model.model.transformer.h.0.attn.c_attn.lora_B.weight"
    ]
    layers = lora_layers(model)
    assert b.shape == (99, 10)
    assert torch.equal(b[:33, :5], layers["encoder.blocks.0.attention.query"].lora_B)
    assert torch.equal(b[66:, 5:], layers["encoder.blocks.0.attention.value"].lora_B)
    assert b.count_nonzero() == 2 * 33 * 5


def write_adapter(folder: Path, tensors: dict[str, Tensor], **config: Any) -> Path:
    folder.mkdir()
    given = {
        "peft_type": "LORA",
        "r": 3,
        "lora_alpha": 6,
        "target_modules": ["c_attn"],
        "modules_to_save": None,
        "fan_in_fan_out": True,
    }
    given |= {"rank_pattern": {}, "alpha_pattern": {}, "use_rslora": False}
    (folder / "adapter_config.json").write_text(json.dumps(given | config))
    save_file(
        {f"base_model.model.{name}": tensor for name, tensor in tensors.items()}, folder / "adapter_model.safetensors"
    )
    return folder


def joint_adapter(num_layers: int = 3) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(8)
    shapes = {"A": (3, 33), "B": (99, 3)}
    return {
        f"transformer.h.{layer}.attn.c_attn.lora_{name}.weight": torch.randn(shape, generator=generator) * 0.1
        for layer in range(num_layers)
        for name, shape in shapes.items()
    }


@pytest.mark.parametrize("config", [{}, {"use_rslora": True}, {"alpha_pattern": {"1.attn.c_attn": 11}}], ids=str)
def test_an_adapter_of_a_joint_layer_made_by_peft(tmp_path: Path, config: dict[str, Any]) -> None:
    reference = reference_of("gpt2")
    model = ours_of(reference, tmp_path / "base")
    folder = write_adapter(tmp_path / "adapter", joint_adapter(), **config)
    load_lora(model, folder)
    assert len(lora_layers(model)) == 9
    apply_as_peft(reference, folder)
    assert_logits_agree(model, reference)


@pytest.mark.parametrize(
    ("change", "config", "message"),
    [
        ({}, {"peft_type": "IA3"}, "peft_type is 'IA3'; unmask reads LORA"),
        ({}, {"use_dora": True}, "use_dora is True, which unmask does not compute"),
        ({}, {"bias": "all"}, "bias is 'all', which unmask does not compute"),
        ({"transformer.h.0.attn.c_attn.lora_A.weight": None}, {}, "c_attn is not whole, it has lora_B alone"),
        (
            {"transformer.h.0.attn.c_attn.lora_A.weight": torch.ones(3, 32)},
            {},
            r"\(99, 3\) by \(3, 32\), and does not fit",
        ),
        (
            {"transformer.h.0.attn.c_attn.lora_A.weight": torch.ones(2, 33)},
            {},
            r"\(99, 3\) by \(2, 33\), and does not fit",
        ),
        (
            {f"transformer.h.7.attn.c_attn.lora_{name}.weight": torch.ones(1, 1) for name in "AB"},
            {},
            r"transformer.h.7.attn.c_attn has an adapter, and this model has no such layer",
        ),
        (
            {f"transformer.h.1.ln_1.lora_{name}.weight": torch.ones(1, 1) for name in "AB"},
            {},
            r"transformer.h.1.ln_1 has an adapter, and this model has no such layer",
        ),
        ({"score.weight": torch.ones(3, 33)}, {}, r"score.weight, of shape \(3, 33\), has no place in this model"),
        ({"wte.lora_embedding_A": torch.ones(1)}, {}, r"wte.lora_embedding_A, of shape \(1,\), has no place"),
    ],
)
def test_folders_that_do_not_fit_are_refused(
    tmp_path: Path, change: dict[str, Tensor | None], config: dict[str, Any], message: str
) -> None:
    model = new_model("gpt2")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    tensors = {name: tensor for name, tensor in (joint_adapter() | change).items() if tensor is not None}
    folder = write_adapter(tmp_path / "adapter", tensors, **config)
    with pytest.raises(CheckpointError, match=message) as raised:
        load_lora(model, folder)
    assert str(folder) in str(raised.value)
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_folders_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"no adapter can be read here .*; it is a folder with adapter_config.json"
    ):
        load_lora(new_model("bert"), tmp_path)
    folder = write_adapter(tmp_path / "adapter", joint_adapter())
    weights = (folder / "adapter_model.safetensors").read_bytes()
    (folder / "adapter_model.safetensors").write_bytes(weights[:-5])
    with pytest.raises(CheckpointError, match="no adapter can be read here"):
        load_lora(new_model("gpt2"), folder)
    (folder / "adapter_config.json").write_text("[1]")
    (folder / "adapter_model.safetensors").write_bytes(weights)
    with pytest.raises(CheckpointError, match=r"adapter_config.json: peft_type is None; unmask reads LORA"):
        load_lora(new_model("gpt2"), folder)


def test_there_must_be_adapters_to_save_and_none_to_load_onto(tmp_path: Path) -> None:
    model = new_model("bert")
    with pytest.raises(ValueError, match="no LoRA adapters to save"):
        save_lora(model, tmp_path / "adapter", base_model="b")
    assert not (tmp_path / "adapter").exists()
    add_lora(model)
    with pytest.raises(ValueError, match="merge them before loading others"):
        load_lora(model, tmp_path)
