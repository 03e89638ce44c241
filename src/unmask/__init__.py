"""unmask: the whole life of a BERT-family language model, with no padding anywhere.

Everything is imported when it is first used: `import unmask` brings in neither torch nor anything else that is heavy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unmask.data import make_acceptability_set, read_table
    from unmask.packing import PackedBatch, PaddedBatch, pack
    from unmask.pipelines import pipeline, read_inputs
    from unmask.sklearn import UnmaskClassifier, UnmaskRegressor
    from unmask.tokenization import Tokenizer, explain
    from unmask.workflows.check import check
    from unmask.workflows.compare import Comparison, compare
    from unmask.workflows.corpus import build_corpus, show_corpus
    from unmask.workflows.demo import demo
    from unmask.workflows.embed import embed
    from unmask.workflows.evaluate import evaluate
    from unmask.workflows.export import export
    from unmask.workflows.fill import fill, fill_jointly
    from unmask.workflows.finetune import finetune
    from unmask.workflows.generate import generate
    from unmask.workflows.inspect import (
        inspect_attention,
        inspect_gradients,
        inspect_layers,
        inspect_nearest,
        inspect_replaced,
        inspect_tokens,
        inspect_word,
    )
    from unmask.workflows.loading import load, save_pretrained
    from unmask.workflows.mask import mask
    from unmask.workflows.params import params
    from unmask.workflows.predict import predict
    from unmask.workflows.pretrain import pretrain
    from unmask.workflows.pretrain_settings import PretrainSettings
    from unmask.workflows.recipes import load_recipe
    from unmask.workflows.score import score, score_pairs
    from unmask.workflows.search import search
    from unmask.workflows.search_settings import SearchSettings
    from unmask.workflows.settings import FinetuneSettings
    from unmask.workflows.tokenizer import tokenizer_report, train_tokenizer

__all__ = [
    "Comparison",
    "FinetuneSettings",
    "PackedBatch",
    "PaddedBatch",
    "PretrainSettings",
    "SearchSettings",
    "Tokenizer",
    "UnmaskClassifier",
    "UnmaskRegressor",
    "build_corpus",
    "check",
    "compare",
    "demo",
    "embed",
    "evaluate",
    "explain",
    "export",
    "fill",
    "fill_jointly",
    "finetune",
    "generate",
    "inspect_attention",
    "inspect_gradients",
    "inspect_layers",
    "inspect_nearest",
    "inspect_replaced",
    "inspect_tokens",
    "inspect_word",
    "load",
    "load_recipe",
    "make_acceptability_set",
    "mask",
    "pack",
    "params",
    "pipeline",
    "predict",
    "pretrain",
    "read_inputs",
    "read_table",
    "save_pretrained",
    "score",
    "score_pairs",
    "search",
    "show_corpus",
    "tokenizer_report",
    "train_tokenizer",
]

_HOMES = {
    "Comparison": "unmask.workflows.compare",
    "FinetuneSettings": "unmask.workflows.settings",
    "PackedBatch": "unmask.packing",
    "PaddedBatch": "unmask.packing",
    "PretrainSettings": "unmask.workflows.pretrain_settings",
    "SearchSettings": "unmask.workflows.search_settings",
    "Tokenizer": "unmask.tokenization",
    "UnmaskClassifier": "unmask.sklearn",
    "UnmaskRegressor": "unmask.sklearn",
    "build_corpus": "unmask.workflows.corpus",
    "check": "unmask.workflows.check",
    "compare": "unmask.workflows.compare",
    "demo": "unmask.workflows.demo",
    "embed": "unmask.workflows.embed",
    "evaluate": "unmask.workflows.evaluate",
    "explain": "unmask.tokenization",
    "export": "unmask.workflows.export",
    "fill": "unmask.workflows.fill",
    "fill_jointly": "unmask.workflows.fill",
    "finetune": "unmask.workflows.finetune",
    "generate": "unmask.workflows.generate",
    "inspect_attention": "unmask.workflows.inspect",
    "inspect_gradients": "unmask.workflows.inspect",
    "inspect_layers": "unmask.workflows.inspect",
    "inspect_nearest": "unmask.workflows.inspect",
    "inspect_replaced": "unmask.workflows.inspect",
    "inspect_tokens": "unmask.workflows.inspect",
    "inspect_word": "unmask.workflows.inspect",
    "load": "unmask.workflows.loading",
    "load_recipe": "unmask.workflows.recipes",
    "make_acceptability_set": "unmask.data",
    "mask": "unmask.workflows.mask",
    "pack": "unmask.packing",
    "params": "unmask.workflows.params",
    "pipeline": "unmask.pipelines",
    "predict": "unmask.workflows.predict",
    "pretrain": "unmask.workflows.pretrain",
    "read_inputs": "unmask.pipelines",
    "read_table": "unmask.data",
    "save_pretrained": "unmask.workflows.loading",
    "score": "unmask.workflows.score",
    "score_pairs": "unmask.workflows.score",
    "search": "unmask.workflows.search",
    "show_corpus": "unmask.workflows.corpus",
    "tokenizer_report": "unmask.workflows.tokenizer",
    "train_tokenizer": "unmask.workflows.tokenizer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'unmask' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
