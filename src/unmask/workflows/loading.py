"""From a name to a model and its tokenizer, and back to a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unmask import hub
from unmask.errors import CheckpointError
from unmask.models.config import ModelConfig
from unmask.models.registry import encoder_of, export_weights, load_model
from unmask.tokenization import Tokenizer
from unmask.workflows.run_folder import command_of, is_run

if TYPE_CHECKING:
    from torch import nn

    from unmask.models.weights import LoadReport

__all__ = ["Pretrained", "find_model", "load", "load_tokenizer", "refuse_larger_vocabulary", "save_pretrained"]


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A model ready for use, and what belongs to it.

    Args:
        model: in eval mode, in float32; `load` leaves it on the CPU.
        tokenizer: the one it was trained with.
        config: its sizes and label names.
        folder: where it was found.
        report: what of the checkpoint went into it.
    """

    model: nn.Module
    tokenizer: Tokenizer
    config: ModelConfig
    folder: Path
    report: LoadReport

    @property
    def max_seq_length(self) -> int:
        """Tokens the longest input can have: what the positions and the tokenizer both allow."""
        reach = encoder_of(self.model).embeddings.max_seq_length
        return min(reach, self.tokenizer.model_max_length or reach)


def load(
    model: str | Path,
    *,
    head: str | None = None,
    id2label: dict[int, str] | None = None,
    allow_new_head: bool = False,
    seed: int = 0,
) -> Pretrained:
    """Load a pretrained model and its tokenizer.

    Args:
        model: a folder (a run's too), a hub id, or "minilm".
        head: a key of `unmask.models.registry.HEADS`; None takes the one the checkpoint was saved with.
        id2label: names of the labels of a new classifier.
        allow_new_head: whether a head the checkpoint lacks is made new, to be trained.
        seed: of a new head's weights.

    Raises:
        CheckpointError: nothing usable is found under that name, or it does not fit.
    """
    folder = find_model(model)
    loaded, report = load_model(folder, head, id2label=id2label, allow_new_head=allow_new_head, seed=seed)
    tokenizer = Tokenizer.from_folder(folder)
    config = loaded.config
    assert isinstance(config, ModelConfig)
    refuse_larger_vocabulary(tokenizer, config, folder)
    return Pretrained(model=loaded.eval(), tokenizer=tokenizer, config=config, folder=folder, report=report)


def find_model(model: str | Path) -> Path:
    """Find the folder of a model, as `unmask.hub.resolve` does.

    Raises:
        CheckpointError: nothing usable is found under that name, or a run that has no model yet.
    """
    folder = hub.resolve(model)
    if is_run(folder):
        raise CheckpointError(
            f"{folder}: this run has no model yet: unmask {command_of(hub.read_config(folder))} --resume --output-dir "
            f"{folder} takes it to its end"
        )
    return folder


def refuse_larger_vocabulary(tokenizer: Tokenizer, config: ModelConfig, folder: Path) -> None:
    """Make sure that a model has an embedding for each token.

    Raises:
        CheckpointError: it has not.
    """
    if tokenizer.vocab_size > config.vocab_size:
        raise CheckpointError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size} words and the model {config.vocab_size} embeddings; "
            "they are not of the same model"
        )


def load_tokenizer(model: str | Path) -> Tokenizer:
    """Load the tokenizer alone: of a folder that holds one, with or without a model, of a hub id, or of "minilm".

    Raises:
        CheckpointError: nothing usable is found under that name.
    """
    folder = Path(model)
    if any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model")):
        return Tokenizer.from_folder(folder)
    try:
        return Tokenizer.from_folder(hub.resolve(model, with_weights=False))
    except CheckpointError as error:
        if not folder.exists():
            raise
        raise CheckpointError(
            f"{folder}: no tokenizer here: that is a folder with a tokenizer.json, a vocab.txt, a vocab.json with "
            "merges.txt, or a spiece.model"
        ) from error


def save_pretrained(
    model: nn.Module, tokenizer: Tokenizer, folder: Path, *, model_card: str | None = None, replace: bool = False
) -> None:
    """Write a folder that unmask and transformers load: config, weights, tokenizer and model card, whole or not at all.

    Raises:
        DataError: the folder exists and replace is false, or the disk is full or read-only.
    """

    def write_extras(partial: Path) -> None:
        reach = encoder_of(model).embeddings.max_seq_length
        tokenizer.save(partial, model_max_length=min(reach, tokenizer.model_max_length or reach))
        if model_card is not None:
            (partial / "README.md").write_text(model_card, encoding="utf-8")

    config, weights = export_weights(model)
    for name in ("bos_token_id", "eos_token_id"):  # a new GPT's config has none, and transformers takes GPT-2's instead
        if config.get(name) is None and (token_id := getattr(tokenizer, name)) is not None:
            config[name] = token_id
    hub.save_model_folder(folder, config=config, weights=weights, write_extras=write_extras, replace=replace)
