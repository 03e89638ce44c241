"""Every recipe that ships, against the real settings and, where it is there, the real data.

Run: pytest tests/test_recipes.py.
"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest

from tiny import finetune_tiny, make_workplace, save_tiny_bert, unmask, weights_of, write_rows
from unmask import FinetuneSettings, PretrainSettings, load_recipe, read_table
from unmask.cli.arguments import parse, recipe_arguments
from unmask.errors import SettingsError

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))
PAPERS = ("bert-base", "roberta-base", "albert-base", "electra-small", "gpt2")
PRETRAINING = [path for path in RECIPES if path.name.startswith("pretrain-")]
COLA = Path(__file__).parents[1] / "recipes" / "cola.yaml"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return make_workplace(tmp_path_factory.mktemp("place"))


def as_typed(recipe: Path, *arguments: str) -> Any:
    kind = PretrainSettings if recipe in PRETRAINING else FinetuneSettings
    return parse(kind, recipe_arguments(["--config", str(recipe), *arguments]), command=kind.command)


def test_there_are_recipes():
    minilm = (f"{name}-minilm" for name in ("cola", "mrpc", "sts-b", "ud-english", "wnut17"))
    assert {path.stem for path in RECIPES} >= {"cola", "squad2", "nsmc", *minilm}
    texts = ("shakespeare", "english-tiny", "korean-tiny")
    assert {path.stem for path in PRETRAINING} >= {f"pretrain-{name}" for name in (*PAPERS, *texts)}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_settings_by_name(path):
    settings = as_typed(path)
    recipe = load_recipe(path)
    for name, value in recipe.items():
        assert getattr(settings, name) == (tuple(value) if isinstance(value, list) else value)
    defaults = type(settings)()
    for field in dataclasses.fields(settings):
        if field.name not in recipe:
            assert getattr(settings, field.name) == getattr(defaults, field.name)


def test_cola_is_what_the_tutorials_do():
    settings = as_typed(COLA)
    assert (settings.epochs, settings.learning_rate, settings.global_batch_size) == (4, 2e-5, 32)
    assert (settings.schedule, settings.warmup_steps, settings.dev_fraction) == ("linear", 0, 0.1)
    minilm = as_typed(COLA.with_name("cola-minilm.yaml"))
    assert (minilm.model, minilm.learning_rate, minilm.warmup_ratio) == ("minilm", 5e-5, 0.06)


@pytest.mark.parametrize("path", PRETRAINING, ids=lambda path: path.stem)
def test_a_family_can_learn_what_its_recipe_says(path):
    settings = as_typed(path)
    filled = settings.for_family(settings.family, is_new=True)
    assert settings.objective in (None, filled.objective)
    if path.stem.removeprefix("pretrain-") in PAPERS:  # they leave nothing to the defaults
        for name in ("mask_token_rate", "random_token_rate"):
            assert getattr(settings, name) == getattr(filled, name) or settings.token_objective == "clm"
        assert (settings.batch_tokens, settings.warmup_ratio, settings.budget) == (None, None, None)
        assert settings.training.global_batch_size == settings.global_batch_size


def test_the_papers_numbers():
    """Devlin et al. 2019, A.2; Liu et al. 2019, table 9; Lan et al. 2020, 4.1; Clark et al. 2020, table 6."""
    names = ("global_batch_size", "max_steps", "learning_rate", "betas", "warmup_steps")
    numbers = {
        path.stem.removeprefix("pretrain-"): tuple(getattr(as_typed(path), name) for name in names)
        for path in PRETRAINING
    }
    assert numbers["bert-base"] == (256, 1_000_000, 1e-4, (0.9, 0.999), 10_000)
    assert numbers["roberta-base"] == (8192, 500_000, 6e-4, (0.9, 0.98), 24_000)
    assert numbers["albert-base"][:2] == (4096, 125_000)
    assert numbers["electra-small"] == (128, 1_000_000, 5e-4, (0.9, 0.999), 10_000)
    assert as_typed(RECIPES[0].with_name("pretrain-roberta-base.yaml")).max_grad_norm is None


def test_flags_override_a_recipe_wherever_they_stand():
    settings = as_typed(COLA, "--seed", "3", "--epochs", "1", "--dev", "mine.tsv", "--labels", "a", "b", "c")
    assert (settings.seed, settings.epochs, settings.dev, settings.labels) == (3, 1, ("mine.tsv",), ("a", "b", "c"))
    assert settings.learning_rate == 2e-5
    before = parse(FinetuneSettings, recipe_arguments(["--train", "mine.tsv", f"--config={COLA}"]), command="finetune")
    assert before.train == "mine.tsv"
    lists = as_typed(COLA.with_name("cola-minilm.yaml"), "--dev", "one.tsv")
    assert lists.dev == ("one.tsv",)


def test_every_kind_of_value(tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        "epochs: 2  # a comment\nlearning_rate: 2e-5\nweight_decay: 1.5E-2\neps: 1.0e-8\nbetas: [0.8, 0.99]\n"
        "overwrite: true\nresume: false\nmax_steps: null\nlabel_column: '1'\ntrain: 7e\nlabels: [0, 1]\n"
    )
    settings = as_typed(recipe)
    assert (settings.epochs, settings.learning_rate, settings.weight_decay, settings.eps) == (2, 2e-5, 0.015, 1e-8)
    assert (settings.betas, settings.overwrite, settings.resume, settings.max_steps) == ((0.8, 0.99), True, False, None)
    assert (settings.label_column, settings.train, settings.labels) == ("1", "7e", ("0", "1"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch: 3\n", "--epoch"),
        ("epochs: three\n", "--epochs"),
        ("epochs: 0\n", "epochs is 0: it must be 1 or more"),
        ("task: parsing\n", "'parsing'"),
        ("- epochs\n", "r.yaml: a recipe is a list of settings, a line each, such as `epochs: 3`"),
        ("", "r.yaml: a recipe is a list of settings"),
        ("1: 2\n", "r.yaml: a recipe is a list of settings"),
        ("epochs: [1\n", "r.yaml: the recipe is not YAML"),
        ("train: !!python/object/apply:os.mkdir [ran]\n", "r.yaml: the recipe is not YAML"),
        (b"train: \xff\n", "r.yaml: the recipe is not YAML"),
    ],
)
def test_a_recipe_that_cannot_be_used(tmp_path, capsys, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    recipe = tmp_path / "r.yaml"
    recipe.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert unmask("finetune", "--config", recipe, "--output-dir", tmp_path / "run") == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [recipe]


def test_a_recipe_that_is_not_there(capsys):
    assert unmask("finetune", "--config", "nowhere.yaml") == 2
    assert "nowhere.yaml: the recipe cannot be read: No such file or directory" in capsys.readouterr().err
    assert unmask("finetune", "--config") == 2
    assert "--config is missing the name of a recipe" in capsys.readouterr().err
    with pytest.raises(SettingsError, match="the recipe cannot be read"):
        load_recipe("nowhere.yaml")


@pytest.mark.usefixtures("no_report")
def test_a_run_from_a_recipe_is_the_run_from_its_flags(place, tmp_path, monkeypatch):
    """Data are found in the data folder, and a resumed run may name its recipe again."""
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        f"model: {place / 'bert'}\ntrain: train.tsv\ndev: dev.tsv\nglobal_batch_size: 8\nlearning_rate: 1e-3\n"
        "epochs: 5\ndevice: cpu\n"
    )
    typed = ("finetune", "--config", recipe, "--epochs", 2, "--output-dir", tmp_path / "recipe")
    assert unmask(*typed, "--data-dir", place) == 0
    assert finetune_tiny(place, tmp_path / "flags") == 0
    assert weights_of(tmp_path / "recipe") == weights_of(tmp_path / "flags")
    assert unmask(*typed, "--data-dir", place, "--resume") == 0
    monkeypatch.setenv("UNMASK_DATA_DIR", str(place))
    assert unmask(*typed, "--overwrite") == 0
    assert weights_of(tmp_path / "recipe") == weights_of(tmp_path / "flags")


class _EnoughError(Exception):
    pass


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("recipe", "train_rows", "dev_rows"),
    [
        ("cola.yaml", 7695, 856),
        ("cola-minilm.yaml", 8551, 1043),
        ("mrpc-minilm.yaml", 3668, 408),
        ("sts-b-minilm.yaml", 5749, 1500),
        ("ud-english-minilm.yaml", 12544, 2001),
        ("wnut17-minilm.yaml", 3394, 1009),
    ],
)
def test_real_files_are_read_whole(data_dir, tmp_path, monkeypatch, recipe, train_rows, dev_rows):
    def enough(*_arguments: Any, **_settings: Any) -> None:
        raise _EnoughError

    monkeypatch.setattr("unmask.workflows.finetune.train", enough)
    run = tmp_path / "run"
    model = save_tiny_bert(tmp_path / "bert")
    with pytest.raises(_EnoughError):
        unmask(
            *("finetune", "--config", COLA.with_name(recipe), "--model", model, "--no-check"),
            *("--data-dir", data_dir, "--output-dir", run),
        )
    data = json.loads((run / "data.json").read_text())
    assert (data["train"]["rows"], data["dev"]["rows"]) == (train_rows, dev_rows)
    if recipe.startswith("cola"):
        assert data["train"]["labels"].keys() == {"unacceptable", "acceptable"}
    if recipe == "cola-minilm.yaml":
        assert data["train"]["labels"] == {"unacceptable": 2528, "acceptable": 6023}


@pytest.mark.real_data
@pytest.mark.usefixtures("no_report", "minilm")
def test_minilm_trains_on_a_slice_of_cola(data_dir, tmp_path):
    table = read_table(data_dir / "cola" / "in_domain_train.tsv", column_names=["source", "label", "star", "sentence"])
    rows = list(zip(table.column("sentence"), table.column("label"), strict=True))
    slices = {"train": rows[:96], "dev": rows[96:128]}
    train, dev = (write_rows(tmp_path / f"{name}.tsv", part, header=None) for name, part in slices.items())
    run, recipe = tmp_path / "run", COLA.with_name("cola-minilm.yaml")
    arguments = ("--train", train, "--dev", dev, "--column-names", "sentence", "label", "--output-dir", run)
    assert unmask("finetune", "--config", recipe, *arguments, "--global-batch-size", 12, "--max-steps", 10) == 0
    rows_logged = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows_logged if row["kind"] == "step"]
    assert len(losses) == 10
    assert all(math.isfinite(loss) and loss < 2 for loss in losses)
    [best] = [row for row in rows_logged if row.get("epoch") == 1.25 and row["kind"] == "epoch"]
    assert math.isfinite(best["dev_loss"])
