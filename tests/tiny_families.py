"""Tiny random models of each family with the kind of tokenizer it has, saved as transformers loads them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from test_workflows_families import config_of, tokenizer_of
from test_workflows_generate import save_tiny_gpt
from tiny import save_tiny_bert, sentences
from unmask import save_pretrained
from unmask.models.registry import build_model

if TYPE_CHECKING:
    from pathlib import Path

FAMILIES = ("bert", "roberta", "albert", "electra", "gpt2")
TEXTS = [text for text, _ in sentences(23, seed=11)]
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def save_tiny(folder: Path, model_type: str, head: str, **changes: Any) -> Path:
    """Save a random model whose answers are far from even."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    if model_type == "bert":
        return save_tiny_bert(folder, head, initializer_range=0.3, **changes)
    if model_type == "gpt2":
        return save_tiny_gpt(folder, head, **changes)
    tokenizer = tokenizer_of(model_type, folder.parent)
    config = config_of(model_type, tokenizer.vocab_size)
    config = dataclasses.replace(config, pad_token_id=tokenizer.pad_token_id, **changes)
    save_pretrained(build_model(config, head, seed=3), tokenizer, folder)
    return folder


def numbered(names: tuple[str, ...]) -> dict[int, str]:
    """Labels as a config has them."""
    return dict(enumerate(names))
