"""What a pretraining run is told."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - the command line is made from these annotations
from typing import Any, ClassVar, Literal, get_args

from unmask.errors import SettingsError
from unmask.pretraining.formats import Format
from unmask.pretraining.masking import Masking, MaskUnit
from unmask.pretraining.sentences import Language
from unmask.training import TrainingSettings
from unmask.workflows.run_settings import RunSettings

__all__ = ["FamilyName", "ObjectiveName", "PretrainSettings", "Size"]

FamilyName = Literal["bert", "roberta", "albert", "electra", "gpt"]
ObjectiveName = Literal["mlm", "nsp", "sop", "rtd", "clm"]
Size = Literal["tiny", "mini", "small", "medium", "base", "large"]

_EVALUATIONS = 10  # of a run, where eval_steps says nothing
_WARMUP_RATIO = 0.06  # Liu et al. 2019, table 9: 30 thousand of 500 thousand steps
_UNITS = {"s": 1, "m": 60, "h": 3600}

# What each family can be taught; first what its paper teaches.
_OBJECTIVES: dict[str, tuple[tuple[ObjectiveName, ...], ...]] = {
    "bert": (("mlm", "nsp"), ("mlm", "sop"), ("mlm",), ("rtd",)),
    "roberta": (("mlm",), ("mlm", "nsp"), ("mlm", "sop"), ("rtd",)),
    "albert": (("mlm", "sop"), ("mlm", "nsp"), ("mlm",), ("rtd",)),
    "electra": (("rtd",), ("mlm",)),
    "gpt": (("clm",),),
}
_PAIR_FORMATS = ("segment-pair", "sentence-pair")
_OF_THE_MODEL = (
    "size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "embedding_size",
    "max_position_embeddings",
    "initializer_range",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
)


@dataclass(frozen=True, kw_only=True)
class PretrainSettings(RunSettings):
    """Pretrain a model on raw text: a new one, or one that has been pretrained before.

    Args:
        epochs: passes over the texts, where neither max_steps nor budget is given.
        global_batch_size: sequences an optimizer step, over all processes, where batch_tokens is None.
        micro_batch_size: sequences in one forward pass where batch_tokens is None, else packs, of which None is one. It
            changes memory and speed, not the mathematics.
        warmup_steps: optimizer steps in which the learning rate rises from 0; where warmup_ratio is None too, it is 6 %
            of all.
        eval_steps: optimizer steps between evaluations; None evaluates ten times in all.
        metric_for_best: the score that chooses the model that is kept; a loss or a perplexity is better when smaller.
            Where loss is asked for, rtd takes generator_loss: the better the generator, the harder its discriminator's
            task, whose own loss therefore says nothing of an earlier model.
        family: of a new model: bert, roberta, albert, electra or gpt; bert where nothing is said.
        size: of a new model: tiny (2 layers, 128 wide), mini (4, 256), small (4, 512), medium (8, 512), base (12, 768)
            or large (24, 1024); mini where nothing is said.
        hidden_size: D, in place of the size's.
        num_hidden_layers: in place of the size's.
        num_attention_heads: in place of the size's; a divisor of hidden_size.
        intermediate_size: width of the feed-forward part, in place of the size's.
        embedding_size: E, for albert and electra alone. None is 128 in albert, or half of hidden_size if that is less;
            in electra half of hidden_size up to 512, and all of it from there on.
        max_position_embeddings: tokens that a new model can ever take; None is max_seq_length, as no more is trained.
        hidden_dropout_prob: probability in [0, 1); None is the family's own: 0.1, in albert 0. In a model that is
            trained further, its own.
        attention_probs_dropout_prob: likewise.
        initializer_range: standard deviation of a new model's weights; None is the family's own, 0.02. That suits wide
            models; one 128 wide left its first plateau a little sooner with 0.05.
        model: a folder, a run or a hub id to go on from (domain adaptation): family, sizes and tokenizer are its own.
        tokenizer: of a new model: a folder that `unmask tokenizer train` or Hugging Face's tools made, or a hub id.
        new_tokens: words to be added to the vocabulary, or files of them, one a line. In a model that is trained
            further, the embedding of each begins as the mean of the pieces it was cut into before.
        corpus: the texts: files (.txt, .jsonl, .parquet, each also .gz), folders of them, data sets' hub ids. Blank
            lines part the documents of a .txt file.
        dev_corpus: texts to evaluate by; without any, a part of the corpus is held back.
        dev_fraction: how much of the corpus is held back where there is no dev_corpus, a fraction of its tokens in
            (0, 1).
        dev_seed: draws what is held back, and the masks and pairs it is judged by. Leave it, and runs of every seed
            compare; a run that goes on from another (model) is judged by text that one held back too.
        max_dev_sequences: sequences to evaluate by, from all over the dev texts.
        language: whose rules find the ends of sentences: en or ko; none takes each paragraph for a sentence.
        filters: what the texts go through first, in this order: gutenberg, wikitext, unwrap, two-blank-lines, lines,
            dedupe, min-words.
        text_column: the column or key of the text in JSON lines, Parquet and data sets; None takes the usual names.
        document_per_file: each .txt file is one document, its blank lines being nothing.
        line_breaks: part paragraphs by the tokenizer's line break, where it has one, and not by a space.
        store: the folder that keeps the tokenized texts for later runs; None is one in ~/.cache/unmask/stores that
            belongs to these texts, settings and tokenizer.
        workers: processes that tokenize.
        objective: what is learnt: mlm, rtd or clm, and perhaps nsp or sop beside mlm. None is the family's own: mlm nsp
            for bert, mlm for roberta, mlm sop for albert, rtd for electra, clm for gpt.
        format: what a sequence is: segment-pair, sentence-pair, full-sentences, doc-sentences or blocks. None is
            segment-pair for nsp and sop, blocks for clm, full-sentences for all else.
        max_seq_length: tokens of the longest sequence, special tokens included; the block size of blocks.
        short_seq_probability: of segment pairs, the fraction that aim at a random shorter length, in [0, 1].
        mlm_probability: fraction of the tokens to guess, in (0, 1].
        mask_token_rate: fraction of these seen as [MASK], in [0, 1]; None is 0.8, and 1 for rtd.
        random_token_rate: fraction of these seen as a random token, in [0, 1]; None is 0.1, and 0 for rtd.
        mask_unit: what is chosen: each token by itself, each word, or each ngram of words; None is ngram for albert,
            and token for all others.
        max_ngram: words of the longest ngram, from 1 to 4.
        static_copies: ways of masking each sequence, used in turn, one an epoch; None makes a new one every epoch.
        generator_size: width of rtd's generator as a fraction of its discriminator's, in (0, 1]; in bert and roberta,
            whose embeddings are as wide as the model, the fraction of its layers.
        discriminator_weight: of the discriminator's loss beside the generator's.
        batch_tokens: real tokens an optimizer step, over all processes; "None" counts sequences instead, of which each
            step takes global_batch_size.
        micro_batch_tokens: real tokens of one forward pass: sequences are packed together up to this number.
        fill_texts: sentences with a mask each that the model fills as training goes on, or for gpt beginnings that it
            continues. Where none are given, a few of the language's own.
        budget: how long to train, evaluations and saving included: 90s, 30m or 2h. The machine's speed is measured, and
            max_steps follows.
        dry_run: show what training would see, and stop.

    Raises:
        SettingsError: a value outside its range, or two that contradict one another.
    """

    command: ClassVar[str] = "pretrain"
    may_change: ClassVar[tuple[str, ...]] = (*RunSettings.may_change, "store", "workers")

    learning_rate: float = 5e-4
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-6

    family: FamilyName | None = None
    size: Size | None = None
    hidden_size: int | None = None
    num_hidden_layers: int | None = None
    num_attention_heads: int | None = None
    intermediate_size: int | None = None
    embedding_size: int | None = None
    max_position_embeddings: int | None = None
    hidden_dropout_prob: float | None = None
    attention_probs_dropout_prob: float | None = None
    initializer_range: float | None = None
    model: str | None = None
    tokenizer: str | None = None
    new_tokens: tuple[str, ...] = ()
    corpus: tuple[str, ...] = ()
    dev_corpus: tuple[str, ...] = ()
    dev_fraction: float = 0.01
    dev_seed: int = 0
    max_dev_sequences: int = 512
    language: Language = "en"
    filters: tuple[str, ...] = ()
    text_column: str | None = None
    document_per_file: bool = False
    line_breaks: bool = False
    store: Path | None = None
    workers: int = 1
    objective: tuple[ObjectiveName, ...] | None = None
    format: Format | None = None
    max_seq_length: int = 128
    short_seq_probability: float = 0.1
    mlm_probability: float = 0.15
    mask_token_rate: float | None = None
    random_token_rate: float | None = None
    mask_unit: MaskUnit | None = None
    max_ngram: int = 3
    static_copies: int | None = None
    generator_size: float = 0.25
    discriminator_weight: float = 50.0
    batch_tokens: int | None = 8192
    micro_batch_tokens: int = 4096
    fill_texts: tuple[str, ...] = ()
    budget: str | None = None
    dry_run: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, choices in (("family", FamilyName), ("size", Size), ("language", Language), ("format", Format)):
            value = getattr(self, name)
            self._require(name, f"one of {', '.join(get_args(choices))}", value is None or value in get_args(choices))
        for name in ("max_dev_sequences", "workers", "micro_batch_tokens", "max_seq_length"):
            self._require(name, "1 or more", getattr(self, name) >= 1)
        for name in ("batch_tokens", *_OF_THE_MODEL[1:-3]):
            self._require(name, "1 or more, or None", getattr(self, name) is None or getattr(self, name) >= 1)
        spread = self.initializer_range
        self._require("initializer_range", "positive and finite, or None", spread is None or 0 < spread < math.inf)
        for name in _OF_THE_MODEL[-2:]:
            self._require(name, "in [0, 1), or None", getattr(self, name) is None or 0 <= getattr(self, name) < 1)
        self._require("dev_fraction", "in (0, 1)", 0 < self.dev_fraction < 1)
        self._require("dev_seed", "from 0 to 2**63 - 1", 0 <= self.dev_seed < 2**63)
        self._require("short_seq_probability", "in [0, 1]", 0 <= self.short_seq_probability <= 1)
        self._require("generator_size", "in (0, 1]", 0 < self.generator_size <= 1)
        self._require("discriminator_weight", "positive and finite", 0 < self.discriminator_weight < math.inf)
        self._check_objective()
        self._check_start()
        self._check_batches()
        _ = self.masking, self.budget_seconds  # their values are checked as they are made

    def _check_objective(self) -> None:
        if self.objective is None:
            return
        known = get_args(ObjectiveName)
        if unknown := [name for name in self.objective if name not in known]:
            raise SettingsError(f"objective {unknown[0]!r} is unknown: there are {', '.join(known)}")
        if self.model is None:
            _refuse_other_objective(self.objective, self.family or "bert")
        pairs = self.pair_objective
        if pairs is not None and self.format not in (None, *_PAIR_FORMATS):
            raise SettingsError(
                f"{pairs} asks about pairs of texts, and the format {self.format} has none: it goes with "
                f"{' and '.join(_PAIR_FORMATS)}"
            )

        if "clm" in self.objective and self.format in _PAIR_FORMATS:
            raise SettingsError(
                f"clm guesses what follows, and the format {self.format} puts texts beside one another: it goes with "
                "blocks, full-sentences and doc-sentences"
            )

    def _check_start(self) -> None:
        if self.model is None:
            return
        names = [name for name in ("family", "tokenizer", *_OF_THE_MODEL) if getattr(self, name) is not None]
        if names:
            raise SettingsError(
                f"{names[0]} is {getattr(self, names[0])!r}, and model is {self.model!r}, which has its own: leave one "
                "of the two out"
            )

    def _check_batches(self) -> None:
        default = TrainingSettings.global_batch_size
        if self.batch_tokens is None:
            return
        if self.global_batch_size != default:
            raise SettingsError(
                f"global_batch_size is {self.global_batch_size} sequences, and batch_tokens is {self.batch_tokens} "
                "tokens: to count sequences, give --batch-tokens None"
            )
        if self.pack_tokens is not None and self.max_seq_length > self.pack_tokens:
            raise SettingsError(
                f"batch_tokens {self.batch_tokens} in parts of micro_batch_tokens {self.micro_batch_tokens} at most "
                f"makes packs of {self.pack_tokens} tokens: they must hold a sequence, and max_seq_length is "
                f"{self.max_seq_length}"
            )

    def for_family(self, family: str, *, is_new: bool) -> PretrainSettings:
        """Fill in what follows from the family, and from the other settings.

        Raises:
            SettingsError: the family cannot learn this.
        """
        objective = self.objective or _OBJECTIVES[family][0]
        _refuse_other_objective(objective, family)
        filled: dict[str, Any] = {
            "objective": objective,
            "format": self.format or _usual_format(objective),
            "mask_unit": self.mask_unit or ("ngram" if family == "albert" else "token"),
        }
        if "rtd" in objective and self.metric_for_best == "loss":
            filled["metric_for_best"] = "generator_loss"  # a better generator makes the discriminator's task harder
        if is_new:
            filled |= {"family": family, "size": self.size or "mini"}
        if self.warmup_steps is None and self.warmup_ratio is None:
            filled["warmup_ratio"] = _WARMUP_RATIO
        settings = dataclasses.replace(self, **filled)
        masking = settings.masking
        return dataclasses.replace(
            settings, mask_token_rate=masking.mask_token_rate, random_token_rate=masking.random_token_rate
        )

    def for_steps(self, *, steps_per_epoch: int, max_steps: int | None = None) -> PretrainSettings:
        """Fill in what follows from the number of steps.

        Args:
            steps_per_epoch: optimizer steps of a pass over the texts.
            max_steps: what the budget allows.
        """
        max_steps = max_steps or self.max_steps
        total = max_steps or self.epochs * steps_per_epoch
        eval_steps = self.eval_steps or max(1, math.ceil(total / _EVALUATIONS))
        return dataclasses.replace(self, max_steps=max_steps, eval_steps=eval_steps)

    @property
    def token_objective(self) -> str:
        """What is learnt at tokens."""
        assert self.objective is not None
        return next(name for name in self.objective if name not in ("nsp", "sop"))

    @property
    def pair_objective(self) -> Literal["nsp", "sop"] | None:
        """What is learnt of pairs."""
        names = [name for name in self.objective or () if name in ("nsp", "sop")]
        return names[0] if names else None

    @property
    def masking(self) -> Masking:
        is_rtd = self.objective is not None and "rtd" in self.objective
        return Masking(
            mlm_probability=self.mlm_probability,
            mask_token_rate=(1.0 if is_rtd else 0.8) if self.mask_token_rate is None else self.mask_token_rate,
            random_token_rate=(0.0 if is_rtd else 0.1) if self.random_token_rate is None else self.random_token_rate,
            mask_unit=self.mask_unit or "token",
            max_ngram=self.max_ngram,
            static_copies=self.static_copies,
        )

    @property
    def budget_seconds(self) -> float | None:
        if self.budget is None:
            return None
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", self.budget.strip())
        if match is None or not float(match[1]):
            raise SettingsError(f"budget is {self.budget!r}: it must be a time such as 90s, 30m or 2h")
        return float(match[1]) * _UNITS[match[2]]

    @property
    def pack_tokens(self) -> int | None:
        """Tokens of a pack at most; None where the loop's samples are single sequences."""
        if self.batch_tokens is None:
            return None
        return self.batch_tokens // math.ceil(self.batch_tokens / self.micro_batch_tokens)

    @property
    def training(self) -> TrainingSettings:
        """What the training loop is told; its samples are packs where batch_tokens is given."""
        training = super().training
        if self.pack_tokens is None:
            return training
        assert self.batch_tokens is not None
        num_packs = self.batch_tokens // self.pack_tokens
        micro = min(self.micro_batch_size or 1, num_packs)
        return dataclasses.replace(training, global_batch_size=num_packs, micro_batch_size=micro)


def _usual_format(objective: tuple[ObjectiveName, ...]) -> Format:
    if "clm" in objective:
        return "blocks"
    return "segment-pair" if {"nsp", "sop"} & {*objective} else "full-sentences"


def _refuse_other_objective(objective: tuple[ObjectiveName, ...], family: str) -> None:
    """Raise SettingsError if a family cannot learn this; the message says what it can, and which family could."""
    able = [name for name, choices in _OBJECTIVES.items() if {*objective} in map(set, choices)]
    if family not in able:
        names = " ".join(objective)
        choices = ", or ".join(" ".join(choice) for choice in _OBJECTIVES[family])
        raise SettingsError(
            f"{family} cannot learn {names}: it learns {choices}"
            + (f"; {names} is for {', '.join(able)}" if able else "")
        )
