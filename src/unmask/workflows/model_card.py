"""The README.md of a fine-tuned model: what it is, how good it is, how to use it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unmask.tasks import Task
    from unmask.workflows.loading import Pretrained
    from unmask.workflows.settings import FinetuneSettings

__all__ = ["model_card"]


def model_card(
    settings: FinetuneSettings,
    pretrained: Pretrained,
    task: Task[Any],
    evaluations: Sequence[dict[str, Any]],
    *,
    num_examples: int,
) -> str:
    """Write a model card in the hub's format: YAML front matter, then text.

    Args:
        settings: of the run.
        pretrained: the model it started from.
        task: what it was trained for.
        evaluations: entries as `evaluation.json` has them.
        num_examples: texts it was trained on.
    """
    front = {
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "tags": ["unmask", pretrained.config.model_type],
        "metrics": list(evaluations[0]["metrics"]),
    }
    metrics = list(evaluations[0]["metrics"])
    rows = [["data", "texts", "loss", *metrics]] + [
        [entry["data"], f"{entry['num_examples']:,}", f"{entry['loss']:.4f}"]
        + [f"{entry['metrics'][name]:.4f}" for name in metrics]
        for entry in evaluations
    ]
    table = "\n".join("| " + " | ".join(row) + " |" for row in [rows[0], ["---"] * len(rows[0]), *rows[1:]])
    return f"""---
{yaml.safe_dump(front, sort_keys=False).strip()}
---
# {settings.model} fine-tuned for {settings.task}

Gives each text {"pair " if settings.text_pair_column else ""}one of {len(task.id2label)} labels: \
{", ".join(task.id2label.values())}.

## Scores

The checkpoint with the best {settings.metric_for_best} on dev was kept, so dev flatters it a little.

{table}

## Training

{num_examples:,} texts of `{settings.train}`; at most {settings.epochs} epochs of batches of \
{settings.global_batch_size}, learning rate {settings.learning_rate:g}, {settings.schedule} schedule, \
weight decay {settings.weight_decay:g}, seed {settings.seed}.

## Use

```python
from transformers import pipeline  # or: unmask predict FOLDER "a text"

pipeline("text-classification", model="FOLDER")("a text")
```
"""
