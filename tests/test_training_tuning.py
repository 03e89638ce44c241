"""What of a model is trained, at which rate, and that a run of it goes on bit for bit.

Run: pytest tests/test_training_tuning.py
"""

from __future__ import annotations

import io
import os
import signal
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
import torch.nn.functional as F
from rich.console import Console

from reference import TINY, ragged
from unmask.errors import Interrupted, SettingsError
from unmask.models.adapters import lora_layers
from unmask.models.bert import BertConfig
from unmask.models.registry import FAMILIES, build_model, empty_model, load_model
from unmask.models.sizes import published_config
from unmask.training import Optimizer, TrainingSettings, parameter_groups, train
from unmask.training.checkpoint import load_model_weights, load_optimizer_state, save_checkpoint, step_folder
from unmask.training.state import TrainingState
from unmask.training.tuning import Tuning, TuningReport, apply_tuning

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from unmask.packing import PackedBatch

SETTINGS = TrainingSettings(
    learning_rate=0.01, weight_decay=0.1, betas=(0.8, 0.95), eps=1e-6, max_grad_norm=0.3, max_steps=6, device="cpu"
)
MINILM = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
BLOCK = (  # the parameters of a block: 16, half of them biases
    *(f"attention.{part}.{kind}" for part in ("query", "key", "value", "output") for kind in ("weight", "bias")),
    *(f"attention_norm.{kind}" for kind in ("weight", "bias")),
    *(f"feed_forward.{part}.{kind}" for part in ("intermediate", "output") for kind in ("weight", "bias")),
    *(f"feed_forward_norm.{kind}" for kind in ("weight", "bias")),
)
EMBEDDINGS = {f"encoder.embeddings.{part}.weight" for part in ("word", "position", "token_type", "norm")} | {
    "encoder.embeddings.norm.bias"
}
CLASSIFIER = {"classifier.linear.weight", "classifier.linear.bias"}
HEAD = CLASSIFIER | {"encoder.pooler.dense.weight", "encoder.pooler.dense.bias"}
WORD = "encoder.embeddings.word.weight"


def new_model(model_type: str = "bert", head: str = "sequence-classification", **sizes: Any) -> nn.Module:
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return build_model(FAMILIES[model_type].config(**TINY | dropout | sizes), head, seed=1)


def block_names(*blocks: int, ends: str = "") -> set[str]:
    return {f"encoder.blocks.{block}.{name}" for block in blocks for name in BLOCK if name.endswith(ends)}


def adapter_names(*blocks: int, targets: Sequence[str] = ("query", "value")) -> set[str]:
    return {
        f"encoder.blocks.{block}.attention.{target}.{name}"
        for block in blocks
        for target in targets
        for name in ("lora_A", "lora_B")
    }


def batch_at(step: int) -> PackedBatch:
    return ragged([5, 2, 11, 3], seed=step, seeds=True)


def loss_at(model: nn.Module, step: int) -> Tensor:
    return F.cross_entropy(model(batch_at(step)).logits, torch.tensor([0, 1, 1, step % 2]))


def take_steps(model: nn.Module, optimizer: Optimizer, steps: range) -> None:
    model.train()
    for step in steps:
        optimizer.zero_grad()
        loss = loss_at(model, step)
        loss.backward()
        optimizer.update(learning_rate=0.01 / (step + 1), loss=loss.detach(), grad_norm=optimizer.grad_norm())


def copies(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


# What is trained


@pytest.mark.parametrize(
    ("tuning", "expected"),
    [
        (Tuning(), EMBEDDINGS | block_names(0, 1, 2) | HEAD),
        (Tuning(tune="head"), HEAD),
        (
            Tuning(tune="bitfit"),
            {"encoder.embeddings.norm.bias", "encoder.pooler.dense.bias"}
            | block_names(0, 1, 2, ends=".bias")
            | CLASSIFIER,
        ),
        (Tuning(tune="lora", lora_rank=3), adapter_names(0, 1, 2) | HEAD),
        (Tuning(freeze_embeddings=True), block_names(0, 1, 2) | HEAD),
        (Tuning(frozen_layers=2), block_names(2) | HEAD),
        (Tuning(frozen_layers=3), HEAD),
        (
            Tuning(tune="bitfit", frozen_layers=1),
            block_names(1, 2, ends=".bias") | CLASSIFIER | {"encoder.pooler.dense.bias"},
        ),
        (
            Tuning(tune="bitfit", freeze_embeddings=True),
            block_names(0, 1, 2, ends=".bias") | CLASSIFIER | {"encoder.pooler.dense.bias"},
        ),
        (Tuning(tune="lora", frozen_layers=1, lora_targets=("key",)), adapter_names(1, 2, targets=["key"]) | HEAD),
    ],
    ids=lambda told: str(told) if isinstance(told, Tuning) else f"{len(told)} weights",
)
def test_one_step_changes_what_is_tuned_and_nothing_else(tuning: Tuning, expected: set[str]) -> None:
    model = new_model()
    report = apply_tuning(model, tuning)
    before = copies(model)
    optimizer = Optimizer(model, SETTINGS, lr_factors=report.lr_factors)
    take_steps(model, optimizer, range(2))  # in the first, B is zero, and A has no gradient yet
    assert {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])} == expected
    assert {name for name, parameter in model.named_parameters() if parameter.grad is not None} == expected
    assert {name.rpartition(".")[0] for name in optimizer.state_dict()} == expected
    assert report.lr_factors == dict.fromkeys(expected, 1.0)
    assert report.num_trainable == sum(value.numel() for name, value in before.items() if name in expected)
    assert report.num_total == sum(value.numel() for value in before.values())


def test_what_is_new_is_always_trained(tmp_path: Path) -> None:
    from unmask import hub
    from unmask.models.registry import export_weights

    config, weights = export_weights(new_model(head="masked-lm"))  # without a pooler
    hub.save_model_folder(tmp_path / "model", config=config, weights=weights)
    model, report = load_model(tmp_path / "model", "sequence-classification", allow_new_head=True)
    assert "bert.pooler.dense.weight" in report.missing
    trained = apply_tuning(model, Tuning(tune="bitfit"), new=report.missing).lr_factors
    assert trained.keys() == {"encoder.embeddings.norm.bias"} | block_names(0, 1, 2, ends=".bias") | HEAD


@pytest.mark.parametrize(
    ("config", "tuning", "num_trainable"),
    [
        # A and B of query and value: 2 x 2 x 8 x hidden a layer; the pooler and a classifier of two labels.
        (MINILM, Tuning(tune="lora"), 6 * 2 * 2 * 8 * 384 + 385 * 384 + 385 * 2),
        (published_config("bert-base-uncased"), Tuning(tune="lora"), 12 * 2 * 2 * 8 * 768 + 769 * 768 + 769 * 2),
        # All six: four of hidden by hidden, two of hidden by four times as many.
        (
            published_config("bert-base-uncased"),
            Tuning(tune="lora", lora_targets=("all",)),
            12 * 8 * (4 * 2 * 768 + 2 * 5 * 768) + 769 * 768 + 769 * 2,
        ),
        # Biases of a layer: four and two of hidden and its norms' two, one of four times as many.
        (published_config("bert-base-uncased"), Tuning(tune="bitfit"), 12 * 11 * 768 + 2 * 768 + 769 * 2),
        (published_config("albert-base-v2"), Tuning(tune="lora"), 2 * 2 * 8 * 768 + 769 * 768 + 769 * 2),
    ],
)
def test_so_few_parameters_are_trained(config: Any, tuning: Tuning, num_trainable: int) -> None:
    model = empty_model(config, "sequence-classification")
    num_before = sum(parameter.numel() for parameter in model.parameters())
    report = apply_tuning(model, tuning)
    assert report.num_trainable == num_trainable
    assert num_trainable / num_before < (0.06 if config.model_type == "albert" else 0.02)
    if tuning.tune == "bitfit":
        assert report.fraction == pytest.approx(0.00095, abs=5e-6)
        assert report.num_total == num_before


def test_the_report_says_it_in_a_sentence() -> None:
    report = TuningReport(tune="lora", num_trainable=1234, num_total=100_000, lr_factors={})
    assert report.summary() == "1,234 of 100,000 parameters are trained (1.23%)"
    assert report.to_dict() == {"tune": "lora", "num_trainable": 1234, "num_total": 100_000}


# At which rate


def test_the_rates_of_three_layers_by_hand() -> None:
    model = new_model()
    report = apply_tuning(model, Tuning(layer_decay=0.5))
    assert report.lr_factors == {
        **dict.fromkeys(EMBEDDINGS, 0.125),
        **dict.fromkeys(block_names(0), 0.25),
        **dict.fromkeys(block_names(1), 0.5),
        **dict.fromkeys(block_names(2), 1.0),
        **dict.fromkeys(HEAD, 1.0),
    }
    groups = parameter_groups(model, weight_decay=0.1, lr_factors=report.lr_factors)
    numbers = [(group["lr_factor"], group["weight_decay"], len(group["params"])) for group in groups]
    assert numbers == [  # matrices and vectors: of a block 6 and 10, of the head 2 each, of the embeddings 3 and 2
        (1.0, 0.1, 8),
        (1.0, 0.0, 12),
        (0.5, 0.1, 6),
        (0.5, 0.0, 10),
        (0.25, 0.1, 6),
        (0.25, 0.0, 10),
        (0.125, 0.1, 3),
        (0.125, 0.0, 2),
    ]


def test_adapters_and_what_is_above_the_frozen_layers_have_the_rates_of_their_layers() -> None:
    lora = apply_tuning(new_model(), Tuning(tune="lora", lora_rank=2, layer_decay=0.9, frozen_layers=1)).lr_factors
    expected = {**dict.fromkeys(adapter_names(1), 0.9), **dict.fromkeys(adapter_names(2) | HEAD, 1.0)}
    assert lora == pytest.approx(expected, abs=1e-15)


def test_layers_that_share_a_block_have_the_rate_of_the_highest() -> None:
    sizes = {"embedding_size": 19, "num_hidden_layers": 4}
    one = apply_tuning(new_model("albert", **sizes), Tuning(layer_decay=0.5)).lr_factors
    assert {name: one[name] for name in one if ".query." in name} == {
        "encoder.blocks.0.attention.query.weight": 1.0,
        "encoder.blocks.0.attention.query.bias": 1.0,
    }
    assert one["encoder.projection.weight"] == one[WORD] == 0.5**4
    # Two groups of two blocks each: blocks 0 and 1 are layers 1 and 2, blocks 2 and 3 are layers 3 and 4.
    model = new_model("albert", **sizes, num_hidden_groups=2, inner_group_num=2)
    two = apply_tuning(model, Tuning(layer_decay=0.5, freeze_embeddings=True)).lr_factors
    assert [two[f"encoder.blocks.{block}.attention.query.weight"] for block in range(4)] == [0.25, 0.25, 1, 1]
    assert not any(name.startswith(("encoder.embeddings", "encoder.projection")) for name in two)


def test_the_final_norm_of_gpt_2_has_the_full_rate() -> None:
    config = FAMILIES["gpt2"].config(vocab_size=101, hidden_size=33, num_hidden_layers=3, num_attention_heads=3)
    report = apply_tuning(empty_model(config, "causal-lm"), Tuning(layer_decay=0.5))
    assert report.lr_factors["encoder.final_norm.weight"] == 1
    assert report.lr_factors["encoder.blocks.0.feed_forward_norm.bias"] == 0.25
    assert report.lr_factors["encoder.embeddings.position.weight"] == 0.125


@pytest.mark.parametrize("tune", ["all", "lora"])
def test_steps_equal_clip_grad_norm_and_adamw_with_a_rate_for_each_parameter(tune: Any) -> None:
    model, reference = new_model(), new_model()
    tuning = Tuning(tune=tune, layer_decay=0.7)
    optimizer = Optimizer(model, SETTINGS, lr_factors=apply_tuning(model, tuning).lr_factors)
    apply_tuning(reference, tuning)
    trained = {name: parameter for name, parameter in reference.named_parameters() if parameter.requires_grad}

    def factor(name: str) -> float:
        words = name.split(".")
        return {"blocks": 0.7 ** (2 - int(words[2]) if words[2].isdigit() else 0), "embeddings": 0.7**3}.get(
            words[1], 1.0
        )

    adamw = torch.optim.AdamW(
        [
            {"params": [parameter], "name": name, "weight_decay": 0.1 if parameter.ndim == 2 else 0.0}
            for name, parameter in trained.items()
        ],
        betas=(0.8, 0.95),
        eps=1e-6,
        fused=False,
        foreach=False,
    )
    reference.train()
    for step in range(4):
        take_steps(model, optimizer, range(step, step + 1))
        adamw.zero_grad()
        loss_at(reference, step).backward()
        torch.nn.utils.clip_grad_norm_(list(trained.values()), 0.3)
        for group in adamw.param_groups:
            group["lr"] = 0.01 / (step + 1) * factor(group["name"])
        adamw.step()
    for (name, parameter), expected in zip(model.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(
            parameter, expected, rtol=0, atol=2e-6, msg=lambda text, name=name: f"{name}: {text}"
        )


# Words that training never meets


def unmet(model: nn.Module) -> Tensor:
    """A mask of the words that no batch of these tests has."""
    met = torch.cat([batch_at(step).input_ids for step in range(6)])
    return ~torch.isin(torch.arange(len(model.encoder.embeddings.word.weight)), met)


def restrict(model: nn.Module) -> None:
    model.encoder.embeddings.word.restrict(torch.cat([batch_at(step).input_ids for step in range(6)]))


def test_restricted_words_decay_at_the_rate_of_the_embeddings() -> None:
    whole, restricted = new_model(), new_model()
    start = whole.encoder.embeddings.word.weight.detach().clone()
    assert unmet(whole).sum() > 20
    for model in (whole, restricted):
        report = apply_tuning(model, Tuning(layer_decay=0.5))
        if model is restricted:
            restrict(model)
        take_steps(model, Optimizer(model, SETTINGS, lr_factors=report.lr_factors), range(5))
    restricted.encoder.embeddings.word.release()
    words, expected = (model.encoder.embeddings.word.weight.detach() for model in (restricted, whole))
    torch.testing.assert_close(words, expected, rtol=0, atol=1e-6)
    decay = 1.0
    for step in range(5):
        decay *= 1 - 0.01 / (step + 1) * 0.5**3 * 0.1
    torch.testing.assert_close(words[unmet(whole)], start[unmet(whole)] * decay, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("is_restricted", [False, True])
@pytest.mark.parametrize(
    "tuning", [Tuning(tune="lora"), Tuning(freeze_embeddings=True), Tuning(tune="bitfit")], ids=str
)
def test_frozen_words_never_decay(tuning: Tuning, is_restricted: bool) -> None:
    model = new_model()
    start = model.encoder.embeddings.word.weight.detach().clone()
    if is_restricted:
        restrict(model)
    report = apply_tuning(model, tuning)
    take_steps(model, Optimizer(model, SETTINGS, lr_factors=report.lr_factors), range(3))
    model.encoder.embeddings.word.release()
    assert torch.equal(model.encoder.embeddings.word.weight, start)


# Going on


@pytest.mark.parametrize(
    "tuning",
    [Tuning(tune="lora", layer_decay=0.8), Tuning(tune="bitfit"), Tuning(frozen_layers=1, layer_decay=0.8)],
    ids=str,
)
def test_a_restored_run_goes_on_bit_for_bit(tmp_path: Path, tuning: Tuning) -> None:
    def begin(seed: int) -> tuple[nn.Module, Optimizer]:
        model = new_model()
        report = apply_tuning(model, tuning, seed=seed)
        return model, Optimizer(model, SETTINGS, lr_factors=report.lr_factors)

    model, optimizer = begin(seed=2)
    take_steps(model, optimizer, range(3))
    state = TrainingState.first(SETTINGS, num_samples=1)
    save_checkpoint(tmp_path, model=model, optimizer=optimizer, state=state)
    take_steps(model, optimizer, range(3, 6))
    restored, restored_optimizer = begin(seed=9)  # the adapters' first values come from the checkpoint too
    folder = step_folder(tmp_path, 0)
    load_model_weights(folder, restored)
    load_optimizer_state(folder, restored_optimizer)
    take_steps(restored, restored_optimizer, range(3, 6))
    assert all(torch.equal(value, restored.state_dict()[name]) for name, value in model.state_dict().items())
    assert all(
        torch.equal(value, restored_optimizer.state_dict()[name]) for name, value in optimizer.state_dict().items()
    )


@dataclass(frozen=True)
class OneBatch:
    step: int
    num_targets: tuple[int] = (4,)
    num_tokens: int = 21

    def to(self, device: torch.device) -> OneBatch:
        return self


@dataclass(frozen=True)
class OneBatchAStep:
    """A sample is a whole batch; after so many of them, somebody sends SIGTERM."""

    num_samples: int = 3
    stop_after: int | None = None
    loss_terms: tuple[str, ...] = ("loss",)

    def collate(self, sample_indices: Sequence[int], *, epoch: int) -> OneBatch:
        if self.stop_after == epoch:
            os.kill(os.getpid(), signal.SIGTERM)
        return OneBatch(step=int(sample_indices[0]))

    def compute_loss(self, model: nn.Module, batch: OneBatch) -> Tensor:
        return 4 * loss_at(model, batch.step)[None]

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        return {"loss": loss_at(model, 7).item()}

    def examples(self, model: nn.Module) -> list[dict[str, Any]]:
        return []


def test_the_loop_trains_adapters_and_resumes_them_bit_for_bit(tmp_path: Path) -> None:
    settings = replace(SETTINGS, global_batch_size=1)

    def run(folder: Path, *, resume: bool = False, **options: Any) -> nn.Module:
        model = new_model()
        apply_tuning(model, Tuning(tune="lora", lora_rank=4))
        console = Console(file=io.StringIO())
        train(model, OneBatchAStep(**options), settings, run_folder=folder, resume=resume, console=console)
        return model

    whole = run(tmp_path / "whole")
    with pytest.raises(Interrupted, match="after step 4 of 6"):
        run(tmp_path / "parts", stop_after=1)
    resumed = run(tmp_path / "parts", resume=True)
    base = new_model().state_dict()
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())
    assert all(layer.lora_B.any() for layer in lora_layers(whole).values())
    assert torch.equal(whole.state_dict()[WORD], base[WORD])


# What cannot be


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tune": "some"}, "tune is 'some': it must be one of all, lora, bitfit, head"),
        ({"tune": "lora", "lora_rank": 0}, "lora_rank is 0: it must be 1 or more"),
        ({"tune": "lora", "lora_alpha": float("inf")}, "lora_alpha is inf: it must be positive and finite"),
        ({"tune": "lora", "lora_alpha": 0.0}, "lora_alpha is 0.0: it must be positive and finite"),
        ({"tune": "lora", "lora_targets": ()}, r"lora_targets is \(\): it must be some of query, key, value"),
        ({"tune": "lora", "lora_targets": ("q",)}, r"lora_targets is \('q',\): it must be some of query, key, value"),
        ({"frozen_layers": -1}, "frozen_layers is -1: it must be 0 or more"),
        ({"layer_decay": 0.0}, r"layer_decay is 0.0: it must be in \(0, 1\]"),
        ({"layer_decay": 1.1}, r"layer_decay is 1.1: it must be in \(0, 1\]"),
        ({"lora_rank": 16}, "lora_rank is 16, which says nothing where tune is 'all': leave it out, or tune something"),
        ({"tune": "head", "frozen_layers": 2}, "frozen_layers is 2, which says nothing where tune is 'head'"),
        ({"tune": "head", "layer_decay": 0.9}, "layer_decay is 0.9, which says nothing where tune is 'head'"),
        ({"tune": "head", "freeze_embeddings": True}, "freeze_embeddings is True, which says nothing where tune is"),
    ],
)
def test_settings_out_of_range_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=f"^{message}"):
        Tuning(**values)


@pytest.mark.parametrize(
    ("tuning", "sizes", "message"),
    [
        (Tuning(frozen_layers=4), {}, "frozen_layers is 4: this model has 3 layers; freeze fewer"),
        (
            Tuning(tune="lora", frozen_layers=3),
            {},
            "frozen_layers is 3: these are all layers of this model, so nothing is left for tune 'lora'; freeze fewer",
        ),
        (
            Tuning(frozen_layers=2),
            {"model_type": "albert", "embedding_size": 19},
            "frozen_layers is 2: this model's layers share their weights with layers above them; freeze fewer",
        ),
        (Tuning(tune="lora", lora_rank=34), {}, "lora_rank is 34: this model's attention.query has at most rank 33"),
        (
            Tuning(tune="head"),
            {"model_type": "electra", "head": "encoder", "embedding_size": 17},
            "tune is 'head', and this model has nothing of the kind: tune all, or lora",
        ),
    ],
)
def test_what_a_model_cannot_do_is_refused(tuning: Tuning, sizes: dict[str, Any], message: str) -> None:
    model = new_model(**sizes)
    with pytest.raises(SettingsError, match=f"^{message}$"):
        apply_tuning(model, tuning)
    assert not lora_layers(model)


def test_layers_of_groups_below_can_be_frozen_whole() -> None:
    model = new_model("albert", embedding_size=19, num_hidden_layers=4, num_hidden_groups=2)
    trained = apply_tuning(model, Tuning(frozen_layers=2)).lr_factors
    assert {name.split(".")[2] for name in trained if ".blocks." in name} == {"1"}
    with pytest.raises(SettingsError, match="share their weights"):
        apply_tuning(model, Tuning(frozen_layers=3))


def test_a_block_that_no_layer_uses_is_no_reason_to_fail() -> None:
    model = new_model("albert", embedding_size=19, num_hidden_layers=2, num_hidden_groups=3)
    trained = apply_tuning(model, Tuning(frozen_layers=1)).lr_factors
    assert {name.split(".")[2] for name in trained if ".blocks." in name} == {"1", "2"}


def test_a_rate_for_a_parameter_that_is_not_there_is_our_own_mistake() -> None:
    with pytest.raises(ValueError, match=r"lr_factors names encoder\.blocks\.9, which is no parameter of the model"):
        Optimizer(new_model(), SETTINGS, lr_factors={"encoder.blocks.9": 0.5})
