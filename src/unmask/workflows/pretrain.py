"""Pretrain a model on raw text: tokenize, cut into sequences, look at them, train, save, report.

unmask pretrain --family bert --corpus books.txt --tokenizer tokenizers/en --output-dir runs/mine
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.console import Console

from unmask.errors import DataError, SettingsError
from unmask.files import write_json
from unmask.pretraining.objective import Pretraining
from unmask.pretraining.objectives import (
    PAIR_OBJECTIVES,
    CausalLanguageModelling,
    GeneratorAndDiscriminator,
    MaskedLanguageModelling,
    ReplacedTokenDetection,
)
from unmask.pretraining.self_check import render_self_check, self_check
from unmask.pretraining.vocabulary import Vocabulary
from unmask.reporting import write_report
from unmask.training import is_main_process, train, training_device
from unmask.workflows.budget import plan_steps, reached_arithmetic, training_flops
from unmask.workflows.loading import save_pretrained
from unmask.workflows.model_card import pretraining_card
from unmask.workflows.new_tokens import add_tokens, read_new_tokens
from unmask.workflows.pretrain_data import read_data
from unmask.workflows.pretrain_model import begin, head_of, make_model
from unmask.workflows.pretrain_settings import PretrainSettings
from unmask.workflows.run_folder import (
    as_json,
    is_complete,
    open_run_folder,
    refuse_changed_data,
    remove_checkpoints,
    spared,
)
from unmask.workflows.run_settings import resolve_settings, with_types
from unmask.workflows.show import make_show

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from unmask.pretraining.objectives import PairObjective, TokenObjective
    from unmask.pretraining.self_check import SelfCheck

__all__ = ["PretrainResult", "pretrain"]

_FEW_SEQUENCES = 100


@dataclass(frozen=True, kw_only=True)
class PretrainResult:
    """What a run came to.

    Args:
        output_dir: the run folder.
        model: the folder of the best model, in Hugging Face's layout.
        generator: the folder of rtd's generator; None for other objectives.
        report: the page to open.
        loss: of the best checkpoint on the dev texts, in nats where the objective is mlm or clm alone.
        unigram_cross_entropy: what mlm and clm lose, in nats, if they guess by how frequent words are; see
            `unmask.pretraining.unigram`.
        dev: scores of the best checkpoint on the dev texts.
        training: tokens, seconds, speed, and "share_of_arithmetic": see `unmask.workflows.budget.reached_arithmetic`.
    """

    output_dir: Path
    model: Path
    generator: Path | None
    report: Path
    loss: float
    unigram_cross_entropy: float
    dev: dict[str, float]
    training: dict[str, float]


def pretrain(
    settings: PretrainSettings | None = None, /, *, console: Console | None = None, **changes: Any
) -> PretrainResult | None:
    """Pretrain: `pretrain(corpus="a.txt", tokenizer="tok", output_dir="runs/mine")`, the fields of `PretrainSettings`.

    Args:
        settings: all settings; the defaults if None.
        console: where progress, and a dry run's findings, are shown; stderr if None.
        changes: fields to set over settings.

    Returns:
        The result; None of a dry run, and on all but the first process of several.

    Raises:
        UnmaskError: texts, checkpoint or settings that cannot be used; the message says what to do.
    """
    settings = dataclasses.replace(settings or PretrainSettings(), **with_types(PretrainSettings, changes))
    settings = _resolve(settings)
    console = console or Console(stderr=True, quiet=not is_main_process())
    say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    output_dir = settings.output_dir
    if settings.resume and output_dir is not None and is_complete(output_dir):
        say(f"{output_dir} is complete: there is nothing to resume")
        return _result(output_dir) if is_main_process() else None

    # Everything is read and checked before the run folder is touched.
    training_device(settings)
    settings, beginning = begin(settings)
    tokenizer = add_tokens(beginning.tokenizer, settings.new_tokens)
    tokens, pairs = _objectives(settings, Vocabulary.of(tokenizer))
    scores_given = [*tokens.summarise(Counter()), *(() if pairs is None else pairs.summarise(Counter()))]
    if settings.metric_for_best not in scores_given:
        raise SettingsError(
            f"metric_for_best is {settings.metric_for_best!r}: it must be one of {', '.join(scores_given)}"
        )
    show = make_show(
        tokenizer,
        settings.fill_texts or None,
        head=head_of(settings),
        language=settings.language,
        max_seq_length=settings.max_seq_length,
    )
    data = read_data(settings, tokenizer, console=console)
    objective = Pretraining(
        tokens, pairs, data.train, data.dev, seed=settings.seed, dev_seed=settings.dev_seed, packs=data.packs, show=show
    )

    # What training will see: in short, or in full and no more than that.
    check = self_check(objective, tokenizer, token_budget=settings.pack_tokens)
    for line in () if settings.dry_run else _summary(check):
        say(line)
    if len(data.dev) < _FEW_SEQUENCES:
        say(
            f"note: only {len(data.dev)} sequences to be judged by, so scores are rough: dev_fraction or dev_corpus "
            "gives more"
        )
    say(f"guessing dev tokens by how frequent they are in training loses {data.unigram_cross_entropy:.4f} nats each")
    if settings.dry_run:
        console.print(render_self_check(check))
        return None

    model, said = make_model(settings, beginning, tokenizer)
    for line in said:
        say(line)
    steps_per_epoch = math.ceil(objective.num_samples / settings.training.global_batch_size)
    max_steps = settings.max_steps
    if settings.budget_seconds is not None and max_steps is None:  # a run that goes on has its plan
        plan = plan_steps(model, objective, settings.training, seconds=settings.budget_seconds)
        say(f"{settings.budget} allow {plan}: {plan.max_steps / steps_per_epoch:.2f} epochs")
        max_steps = plan.max_steps
    settings = settings.for_steps(steps_per_epoch=steps_per_epoch, max_steps=max_steps)
    assert output_dir is not None
    described = data.describe(len(data.train) / steps_per_epoch)
    if is_main_process():
        refuse_changed_data(output_dir, described, resume=settings.resume)
        open_run_folder(output_dir, as_json(settings) | {"task": "pretraining"}, resume=settings.resume)
        write_json(output_dir / "data.json", described | {"self_check": check.to_dict()})
    result = train(model, objective, settings.training, run_folder=output_dir, resume=settings.resume, console=console)
    if not is_main_process():
        return None

    # The best weights are in the model: record how good it is and how fast it was trained, save it, report.
    best = next(row for row in result.epochs if row["step"] == result.best_step)
    scores = {name.removeprefix("dev_"): value for name, value in best.items() if name.startswith("dev_")}
    lengths = data.train.lengths
    flops = training_flops(
        model, head_of(settings), lengths, num_predictions=check.num_targets / check.measured_tokens * lengths.sum()
    )
    entry = {
        "data": "dev",
        "num_examples": len(data.dev),
        "num_tokens": int(data.dev.lengths.sum()),
        "loss": scores.pop("loss"),
        "metrics": scores,
        "step": result.best_step,
        "unigram_cross_entropy": data.unigram_cross_entropy,
        "training": reached_arithmetic(result.epochs, settings.training, flops_per_token=flops / float(lengths.sum())),
    }
    write_json(output_dir / "evaluation.json", [entry])
    models: dict[str, Any] = {"model": model.cpu()}
    if isinstance(model, GeneratorAndDiscriminator):
        models = {"generator": model.generator, "model": model.discriminator}
    for name, part in models.items():
        card = pretraining_card(
            settings,
            part.config,
            head=part.head,
            num_parameters=sum(parameter.numel() for parameter in part.parameters()),
            mask_token=tokenizer.mask_token,
            data=described,
            evaluation=entry,
            command=(output_dir / "command.txt").read_text(encoding="utf-8").strip(),
        )
        save_pretrained(part, tokenizer, output_dir / name, model_card=card, replace=True)
    with spared(output_dir, say):
        write_report(output_dir)
    remove_checkpoints(output_dir)
    return _result(output_dir)


def _resolve(settings: PretrainSettings) -> PretrainSettings:
    """Read what stands in files of settings; a run that is resumed keeps the settings it has."""
    settings = dataclasses.replace(settings, new_tokens=read_new_tokens(settings.new_tokens))
    if settings.dry_run:
        return settings
    given = settings
    settings = resolve_settings(settings)
    if settings is given and settings.resume and settings.tokenizer is None and settings.model is None:
        raise DataError("there is no run here to resume: name the folder of one", path=settings.output_dir)
    if settings is given and settings.budget is not None and settings.max_steps is not None:  # it is a new run
        raise SettingsError(
            f"budget is {settings.budget!r} and max_steps is {settings.max_steps}: give one of the two "
            "(--budget None takes away a recipe's)"
        )
    return settings


def _objectives(settings: PretrainSettings, vocabulary: Vocabulary) -> tuple[TokenObjective, PairObjective | None]:
    pairs = None if settings.pair_objective is None else PAIR_OBJECTIVES[settings.pair_objective]()
    if settings.token_objective == "clm":
        return CausalLanguageModelling(), pairs
    if settings.token_objective == "rtd":
        weight = settings.discriminator_weight
        return ReplacedTokenDetection(settings.masking, vocabulary, discriminator_weight=weight), pairs
    return MaskedLanguageModelling(settings.masking, vocabulary), pairs


def _summary(check: SelfCheck) -> Iterator[str]:
    """Say in a few lines what was measured."""
    said = f"{check.num_sequences:,} sequences an epoch, {check.mean_length:.1f} tokens each"
    if check.packing_efficiency is not None:
        said += (
            f", in {check.num_samples:,} packs of {check.token_budget:,} tokens that are "
            f"{check.packing_efficiency:.1%} full"
        )
    if check.num_cut_sentences:
        said += f"; {check.num_cut_sentences:,} sentences are longer than a sequence, and are cut"
    yield said
    said = f"{check.num_targets / check.measured_tokens:.2%} of the tokens are to be guessed"
    if check.mask_rate is not None:
        said = (
            f"{check.mask_rate:.2%} of the tokens that are not special are to be guessed, {check.mask_token_rate:.1%} "
            f"seen as the mask, {check.random_token_rate:.1%} as a random token, {check.kept_rate:.1%} as they are"
        )
    if check.pair_rates:
        said += "; pairs: " + ", ".join(f"{rate:.1%} {name}" for name, rate in check.pair_rates.items())
    yield said
    yield from (f"note: {remark}" for remark in check.remarks)


def _result(output_dir: Path) -> PretrainResult:
    """Read back what a complete run came to."""
    [entry] = json.loads((output_dir / "evaluation.json").read_bytes())
    generator = output_dir / "generator"
    return PretrainResult(
        output_dir=output_dir,
        model=output_dir / "model",
        generator=generator if generator.is_dir() else None,
        report=output_dir / "report.html",
        loss=entry["loss"],
        unigram_cross_entropy=entry["unigram_cross_entropy"],
        dev=entry["metrics"],
        training=entry["training"],
    )
