"""unmask: the whole life of a BERT-family language model, with no padding anywhere.

Everything is imported when it is first used: `import unmask` brings in neither torch nor anything else that is heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unmask.lookup import look_up

if TYPE_CHECKING:
    from unmask.data import make_acceptability_set, read_table
    from unmask.packing import PackedBatch, PaddedBatch, pack
    from unmask.pipelines import pipeline, read_inputs
    from unmask.serving import serve
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
    "serve",
    "show_corpus",
    "tokenizer_report",
    "train_tokenizer",
]

_HOMES = {
    "Comparison": "workflows.compare",
    "FinetuneSettings": "workflows.settings",
    "PackedBatch": "packing",
    "PaddedBatch": "packing",
    "PretrainSettings": "workflows.pretrain_settings",
    "SearchSettings": "workflows.search_settings",
    "Tokenizer": "tokenization",
    "UnmaskClassifier": "sklearn",
    "UnmaskRegressor": "sklearn",
    "build_corpus": "workflows.corpus",
    "check": "workflows.check",
    "compare": "workflows.compare",
    "demo": "workflows.demo",
    "embed": "workflows.embed",
    "evaluate": "workflows.evaluate",
    "explain": "tokenization",
    "export": "workflows.export",
    "fill": "workflows.fill",
    "fill_jointly": "workflows.fill",
    "finetune": "workflows.finetune",
    "generate": "workflows.generate",
    "inspect_attention": "workflows.inspect",
    "inspect_gradients": "workflows.inspect",
    "inspect_layers": "workflows.inspect",
    "inspect_nearest": "workflows.inspect",
    "inspect_replaced": "workflows.inspect",
    "inspect_tokens": "workflows.inspect",
    "inspect_word": "workflows.inspect",
    "load": "workflows.loading",
    "load_recipe": "workflows.recipes",
    "make_acceptability_set": "data",
    "mask": "workflows.mask",
    "pack": "packing",
    "params": "workflows.params",
    "pipeline": "pipelines",
    "predict": "workflows.predict",
    "pretrain": "workflows.pretrain",
    "read_inputs": "pipelines",
    "read_table": "data",
    "save_pretrained": "workflows.loading",
    "score": "workflows.score",
    "score_pairs": "workflows.score",
    "search": "workflows.search",
    "serve": "serving",
    "show_corpus": "workflows.corpus",
    "tokenizer_report": "workflows.tokenizer",
    "train_tokenizer": "workflows.tokenizer",
}

__getattr__ = look_up(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
