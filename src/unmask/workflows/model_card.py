"""The README.md of a trained model: what it is, how good it is, how to use it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from unmask.models.config import ModelConfig
    from unmask.tasks import Task
    from unmask.training import TuningReport
    from unmask.workflows.loading import Pretrained
    from unmask.workflows.pretrain_settings import PretrainSettings
    from unmask.workflows.settings import FinetuneSettings

__all__ = ["model_card", "pretraining_card"]

_OBJECTIVES = {
    "mlm": "masked language modelling",
    "nsp": "next sentence prediction",
    "sop": "sentence order prediction",
    "rtd": "replaced token detection",
    "clm": "causal language modelling",
}


def model_card(
    settings: FinetuneSettings,
    pretrained: Pretrained,
    task: Task[Any],
    evaluations: Sequence[dict[str, Any]],
    *,
    num_examples: int,
    pairs: bool,
    tuning: TuningReport,
) -> str:
    """Write the card of a fine-tuned model in the hub's format: YAML front matter, then text.

    Args:
        settings: of the run.
        pretrained: the model it started from.
        task: what it was trained for.
        evaluations: entries as `evaluation.json` has them.
        num_examples: how many examples it was trained on.
        pairs: whether these are pairs of texts.
        tuning: what of the model was trained.
    """
    metrics = list(evaluations[0]["metrics"])
    rows = [["data", task.unit, "loss", *metrics]] + [
        [entry["data"], f"{entry['num_examples']:,}", f"{entry['loss']:.4f}"]
        + [f"{entry['metrics'][name]:.4f}" for name in metrics]
        for entry in evaluations
    ]
    front = _front_matter(pretrained.config.model_type, pipeline_tag=task.pipeline_tag, metrics=metrics)
    return f"""{front}
# {settings.model} fine-tuned for {settings.task}

{task.summary(pairs=pairs)}

## Scores

The checkpoint with the best {settings.training.metric_for_best} on dev was kept, so dev flatters it a little.

{_table(rows)}

## Training

{num_examples:,} {task.unit} of `{settings.train}`; at most {settings.epochs} epochs of batches of \
{settings.global_batch_size}, learning rate {settings.learning_rate:g}, {settings.schedule} schedule, \
weight decay {settings.weight_decay:g}, seed {settings.seed}.{_tuned(settings, tuning)}

## Use

```python
{task.usage(pairs=pairs)}
```
"""


def pretraining_card(
    settings: PretrainSettings,
    config: ModelConfig,
    *,
    head: str,
    num_parameters: int,
    mask_token: str | None,
    data: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    command: str,
) -> str:
    """Write the card of a pretrained model.

    Args:
        settings: of the run, as resolved.
        config: the model's sizes.
        head: the key of `unmask.models.registry.HEADS` it is saved with: for an rtd run "replaced-token" for the
            discriminator, "masked-lm" for the generator.
        num_parameters: numbers in the model.
        mask_token: the tokenizer's.
        data: what `data.json` says of "train" and "dev".
        evaluation: the entry of `evaluation.json`.
        command: what was typed.
    """
    is_generator = head == "masked-lm" and "rtd" in (settings.objective or ())
    pipeline_tag = {"masked-lm": "fill-mask", "pre-training": "fill-mask", "causal-lm": "text-generation"}.get(head)
    language = None if settings.language == "none" else settings.language
    front = _front_matter(config.model_type, pipeline_tag=pipeline_tag, metrics=["perplexity"], language=language)
    objectives = [f"{_OBJECTIVES[name]} ({name})" for name in settings.objective or ()]
    start = (
        f"{settings.model}, pretrained further" if settings.model else f"A {config.model_type} pretrained from scratch"
    )
    return f"""{front}
# {start}{" (the generator)" if is_generator else ""}

{_sizes(config, num_parameters)} It learnt {" and ".join(objectives)} from raw text.

## Scores

{_scores(evaluation)}

## Training

{_training(settings, data)}

```
{command}
```

## Use

{_use(head, mask_token)}
"""


def _tuned(settings: FinetuneSettings, tuning: TuningReport) -> str:
    """Say what of the model was trained, where that is not all of it."""
    if tuning.num_trainable == tuning.num_total:
        return ""
    how = {
        "lora": f", adapters of rank {settings.lora_rank} on {', '.join(settings.lora_targets)} and the head (LoRA), "
        "which are merged here",
        "bitfit": ", the biases and the head (BitFit)",
        "head": ", the head alone",
    }.get(tuning.tune, "")
    return f" {tuning.summary()}{how}."


def _front_matter(
    model_type: str, *, pipeline_tag: str | None, metrics: Sequence[str], language: str | None = None
) -> str:
    front = {
        "language": language,
        "library_name": "transformers",
        "pipeline_tag": pipeline_tag,
        "tags": ["unmask", model_type],
        "metrics": list(metrics),
    }
    said = {name: value for name, value in front.items() if value is not None}
    return f"---\n{yaml.safe_dump(said, sort_keys=False).strip()}\n---"


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Lay out rows, the first of them the headings, in Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [rows[0], ["---"] * len(rows[0]), *rows[1:]])


def _sizes(config: ModelConfig, num_parameters: int) -> str:
    embedding_size = getattr(config, "embedding_size", config.hidden_size)
    narrow = f" (embeddings {embedding_size})" if embedding_size != config.hidden_size else ""
    return (
        f"{num_parameters:,} parameters: {config.num_hidden_layers} layers, hidden size {config.hidden_size}{narrow}, "
        f"{config.num_attention_heads} attention heads, feed-forward {config.intermediate_size}, a vocabulary of "
        f"{config.vocab_size:,}, up to {config.max_position_embeddings} positions."
    )


def _scores(evaluation: Mapping[str, Any]) -> str:
    scores = {"loss": evaluation["loss"], **evaluation["metrics"]}
    rows = [
        ["score", evaluation["data"]],
        *([name.replace("_", " "), f"{value:.4f}"] for name, value in scores.items()),
    ]
    text = f"Of the checkpoint after step {evaluation['step']:,}, on text that was held back." + "\n\n" + _table(rows)
    if (entropy := evaluation.get("unigram_cross_entropy")) is not None:
        text += (
            "\n\nGuessing each token by how often it occurs in the training text, without reading, loses "
            f"{entropy:.4f} nats: a loss at masked or next tokens is to be compared with that."
        )
    return text


def _training(settings: PretrainSettings, data: Mapping[str, Any]) -> str:
    train = data["train"]
    sources = ", ".join(f"`{source}`" for source in settings.corpus) or f"the store `{settings.store}`"
    documents = f"{train['documents']:,} documents, " if "documents" in train else ""
    tokens = train.get("text_tokens", train["tokens"])
    batch = (
        f"{settings.global_batch_size:,} sequences"
        if settings.batch_tokens is None
        else f"about {settings.batch_tokens:,} tokens"
    )
    masking = ""
    if settings.token_objective != "clm":
        rates = settings.masking
        masking = (
            f" {rates.mlm_probability:.0%} of the tokens are chosen, by {rates.mask_unit}: {rates.mask_token_rate:.0%} "
            f"of these are seen as the mask and {rates.random_token_rate:.0%} as a random token, "
            + ("anew in every epoch." if rates.static_copies is None else f"in {rates.static_copies} fixed ways.")
        )
    length = f"{settings.max_steps:,} steps" if settings.max_steps else f"{settings.epochs} epochs"
    return (
        f"Text: {sources}; {documents}{tokens:,} tokens. Sequences are {settings.format}, up to "
        f"{settings.max_seq_length} tokens.{masking}\n\n"
        f"At most {length} of {batch} each; learning rate {settings.learning_rate:g}, {settings.schedule} schedule, "
        f"betas {settings.betas[0]:g} and {settings.betas[1]:g}, weight decay {settings.weight_decay:g}, seed "
        f"{settings.seed}."
    )


def _use(head: str, mask_token: str | None) -> str:
    finetune = "unmask finetune classification --model FOLDER --train train.tsv --output-dir runs/mine"
    text = f"Once upon a {mask_token}."
    typed, python = {
        "causal-lm": (
            'unmask generate "Once upon a" --model FOLDER',
            'from transformers import pipeline\n\npipeline("text-generation", model="FOLDER")("Once upon a")',
        ),
        "replaced-token": (
            "",
            'from transformers import AutoModel\n\nAutoModel.from_pretrained("FOLDER")  # the encoder',
        ),
    }.get(
        head,
        (
            f'unmask fill "{text}" --model FOLDER',
            f'from transformers import pipeline\n\npipeline("fill-mask", model="FOLDER")("{text}")',
        ),
    )
    commands = "\n".join(filter(None, (typed, finetune)))
    return f"```\n{commands}\n```\n\n```python\n{python}\n```"
