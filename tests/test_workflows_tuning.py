"""Fine-tuning that trains a part of the model, from files to a plain checkpoint. Run: pytest this file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from tiny import finetune_tiny, make_workplace, unmask, weights_of
from unmask import FinetuneSettings, finetune, load, predict, read_table
from unmask.errors import SettingsError
from unmask.models.adapters import add_lora, load_lora, merge_lora
from unmask.models.registry import export_weights
from unmask.tasks import FineTuning

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEAD = {"classifier.weight", "classifier.bias", "bert.pooler.dense.weight", "bert.pooler.dense.bias"}
LORA = ("--tune", "lora", "--lora-rank", 4)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return make_workplace(tmp_path_factory.mktemp("place"))


def config_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "config.json").read_text())


def changes(place: Path, run: Path) -> dict[str, float]:
    """How far each parameter of the trained model is from that of the base model; those that moved, and new ones."""
    base, trained = load_file(place / "bert" / "model.safetensors"), load_file(run / "model" / "model.safetensors")
    known = {name: base[name.removeprefix("bert.")] for name in trained if name.removeprefix("bert.") in base}
    moved = {name: (trained[name] - tensor).abs().max().item() for name, tensor in known.items()}
    return {name: by for name, by in moved.items() if by} | {
        name: float("inf") for name in trained if name not in known
    }


def quiet() -> Console:
    return Console(quiet=True)


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize(
    ("arguments", "is_trained"),
    [
        (("--tune", "head"), lambda name: name in HEAD),
        (
            ("--tune", "bitfit"),  # of the pooler, which is not new, the bias alone
            lambda name: name.endswith(".bias") or name == "classifier.weight",
        ),
        (LORA, lambda name: name in HEAD or name.endswith(("query.weight", "value.weight"))),
        (
            ("--tune", "lora", "--lora-targets", "all", "--frozen-layers", 1),
            lambda name: name in HEAD or (".layer.1." in name and name.endswith(".weight") and "LayerNorm" not in name),
        ),
        (("--frozen-layers", 1), lambda name: name in HEAD or ".layer.1." in name),
        (("--freeze-embeddings",), lambda name: ".embeddings." not in name),
    ],
)
def test_what_is_not_trained_stays_as_it_was(place, tmp_path, arguments, is_trained):
    run = tmp_path / "run"
    assert finetune_tiny(place, run, "--max-steps", 3, *arguments) == 0
    names = set(load_file(run / "model" / "model.safetensors"))
    assert set(changes(place, run)) == {name for name in names if is_trained(name)}
    assert (run / "adapter").is_dir() == ("lora" in arguments)


@pytest.mark.usefixtures("no_report")
def test_lower_layers_learn_more_slowly(place, tmp_path):
    """AdamW's first step moves a weight by the learning rate, whatever its gradient; here the layers' rates differ."""
    run = tmp_path / "run"
    arguments = ("--max-steps", 1, "--layer-decay", 0.1, "--weight-decay", 0, "--learning-rate", 1e-2)
    assert finetune_tiny(place, run, *arguments) == 0
    moved = changes(place, run)
    assert moved["bert.pooler.dense.weight"] == pytest.approx(1e-2, rel=1e-2)
    assert moved["bert.encoder.layer.1.output.dense.weight"] == pytest.approx(1e-2, rel=1e-2)
    assert moved["bert.encoder.layer.0.output.dense.weight"] == pytest.approx(1e-3, rel=1e-2)
    assert moved["bert.embeddings.word_embeddings.weight"] == pytest.approx(1e-4, rel=1e-2)


@pytest.mark.usefixtures("no_report")
class TestLoRA:
    def test_the_adapter_on_its_base_is_the_model_to_the_bit(self, place, tmp_path):
        run = tmp_path / "run"
        assert finetune_tiny(place, run, *LORA, "--lora-alpha", 8) == 0
        assert {path.name for path in (run / "adapter").iterdir()} == {
            "adapter_config.json",
            "adapter_model.safetensors",
        }
        told = json.loads((run / "adapter" / "adapter_config.json").read_text())
        assert (told["r"], told["lora_alpha"], told["target_modules"]) == (4, 8, ["query", "value"])
        assert told["base_model_name_or_path"] == str(place / "bert")

        names = {0: "bad", 1: "good"}
        base = load(place / "bert", head="sequence-classification", id2label=names, allow_new_head=True, seed=99).model
        load_lora(base, run / "adapter")
        merge_lora(base)
        rebuilt, saved = export_weights(base)[1], load_file(run / "model" / "model.safetensors")
        assert rebuilt.keys() == saved.keys()
        assert all(torch.equal(rebuilt[name], saved[name]) for name in saved)

    def test_transformers_loads_the_merged_model_to_the_same_answers(self, place, tmp_path):
        import transformers

        run = tmp_path / "run"
        assert finetune_tiny(place, run, *LORA, "--learning-rate", 1e-2) == 0
        texts = read_table(place / "dev.tsv").column("sentence")
        tokenizer = transformers.AutoTokenizer.from_pretrained(run / "model")
        model = transformers.AutoModelForSequenceClassification.from_pretrained(run / "model")
        with torch.inference_mode():
            logits = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits
        assert [answer.label for answer in predict(run, texts)] == [
            model.config.id2label[i] for i in logits.argmax(-1).tolist()
        ]
        lines = [json.loads(line) for line in (run / "predictions_dev.jsonl").read_text().splitlines()]
        assert [line["predicted"] for line in lines] == [answer.label for answer in predict(run, texts)]

    def test_a_killed_run_goes_on_to_the_same_bits(self, place, tmp_path, monkeypatch):
        """Killed in its eleventh step of 16: it goes on after the eighth, where an epoch ended and it was saved."""
        settings = FinetuneSettings(
            model=str(place / "bert"),
            train=str(place / "train.tsv"),
            dev=(str(place / "dev.tsv"),),
            tune="lora",
            lora_targets=("all",),
            layer_decay=0.8,
            epochs=2,
            global_batch_size=8,
            device="cpu",
        )
        finetune(settings, output_dir=tmp_path / "whole", console=quiet())
        run = tmp_path / "killed"
        with monkeypatch.context() as patch:
            patch.setattr(FineTuning, "collate", killed_at(11))
            with pytest.raises(MemoryError):
                finetune(settings, output_dir=run, console=quiet())
        assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-00000008"]
        assert not (run / "adapter").exists()
        assert unmask("finetune", "--resume", "--output-dir", run) == 0
        assert weights_of(run) == weights_of(tmp_path / "whole")
        for part in ("adapter/adapter_model.safetensors", "predictions_dev.jsonl", "evaluation_dev.json"):
            assert (run / part).read_bytes() == (tmp_path / "whole" / part).read_bytes(), part

    def test_another_rank_is_refused_by_a_run_that_goes_on(self, place, tmp_path, capsys):
        run = tmp_path / "run"
        assert finetune_tiny(place, run, *LORA, "--max-steps", 1) == 0
        assert unmask("finetune", "--resume", "--output-dir", run, "--lora-rank", 2, "--tune", "lora") == 2
        assert f"lora_rank is 2, but the run in {run} has 4" in capsys.readouterr().err

    def test_a_model_with_adapters_is_not_exported(self, place):
        model = load(place / "bert").model
        add_lora(model, rank=2)
        with pytest.raises(ValueError, match="merge the LoRA adapters before saving the model, or save them alone"):
            export_weights(model)
        merge_lora(model)
        assert "encoder.layer.0.attention.self.query.weight" in export_weights(model)[1]

    def test_it_trains_less_than_a_fiftieth_of_minilm(self, place, tmp_path, minilm):
        run = tmp_path / "run"
        assert finetune_tiny(place, run, "--model", "minilm", "--tune", "lora", "--max-steps", 1) == 0
        config = config_of(run)
        assert config["lora_rank"] == 8
        assert config["num_trainable"] == 6 * 2 * 8 * (384 + 384) + (384 * 384 + 384) + (384 * 2 + 2)
        assert config["num_trainable"] < 0.02 * config["num_total"]
        told = json.loads((run / "adapter" / "adapter_config.json").read_text())
        assert told["base_model_name_or_path"] == str(minilm)
        assert "222,338 of 22," in (run / "model" / "README.md").read_text()


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize(
    ("arguments", "rate", "is_said"),
    [
        ((), 2e-5, False),
        (("--tune", "lora"), 5e-4, True),
        (("--tune", "bitfit"), 5e-4, True),
        (("--tune", "lora", "--learning-rate", "2e-5"), 2e-5, False),  # what is asked for is what is done
        (("--frozen-layers", 1), 2e-5, False),
    ],
)
def test_the_learning_rate_unless_told(place, tmp_path, capsys, arguments, rate, is_said):
    run = tmp_path / "run"
    files = ("--model", place / "bert", "--train", place / "train.tsv", "--dev", place / "dev.tsv", "--device", "cpu")
    assert unmask("finetune", *files, "--output-dir", run, "--max-steps", 1, *arguments) == 0
    assert config_of(run)["learning_rate"] == rate
    [row] = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines() if '"step"' in line][:1]
    assert row["learning_rate"] == rate
    assert ("learning rate 0.0005, unless told otherwise" in capsys.readouterr().err) == is_said


def test_settings_for_tuning_are_checked_before_anything_is_written(place, tmp_path):
    run = tmp_path / "run"
    for given, message in [
        ({"tune": "prefix"}, "tune is 'prefix': it must be one of all, lora, bitfit, head"),
        ({"lora_rank": 4}, "lora_rank is 4, which says nothing where tune is 'all'"),
        ({"frozen_layers": 3}, "frozen_layers is 3: this model has 2 layers; freeze fewer"),
        ({"tune": "lora", "lora_rank": 33}, "lora_rank is 33: this model's attention.query has at most rank 32"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0: it must be positive"),
    ]:
        with pytest.raises(SettingsError, match=message):
            finetune(model=place / "bert", train=place / "train.tsv", output_dir=run, console=quiet(), **given)
        assert not run.exists()


def test_what_is_trained_is_said_and_reported(place, tmp_path, capsys):
    run = tmp_path / "run"
    assert finetune_tiny(place, run, "--tune", "head", "--max-steps", 2) == 0
    said = capsys.readouterr().err
    config = config_of(run)
    total = sum(tensor.numel() for tensor in load_file(run / "model" / "model.safetensors").values())
    assert (config["num_trainable"], config["num_total"]) == (32 * 32 + 32 + 2 * 32 + 2, total)
    assert f"1,122 of {total:,} parameters are trained" in said
    assert "word embeddings" not in said  # none is trained, so none is set apart
    page = (run / "report.html").read_text()
    assert f"<dt>Parameters trained</dt><dd>1,122 of {total:,} ({1122 / total:.2%})</dd>" in page
    assert f"1,122 of {total:,} parameters are trained" in (run / "model" / "README.md").read_text()


def killed_at(call: int) -> Callable[..., Any]:
    """`FineTuning.collate`, which ends the run at a call of it, without a word to anyone."""
    collate, calls = FineTuning.collate, []

    def dies(self: FineTuning, *arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            raise MemoryError
        return collate(self, *arguments, **named)

    return dies
