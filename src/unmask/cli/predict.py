"""`unmask predict`."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - the command line is made from these annotations
from typing import TYPE_CHECKING, Any

from rich.console import Console
from tyro.conf import Positional  # noqa: TC002 - likewise

from unmask.cli.arguments import parse_with_json
from unmask.cli.tables import predictions_table
from unmask.errors import SettingsError
from unmask.files import write_text
from unmask.pipelines.inputs import InputRow, read_inputs
from unmask.runtimes import RuntimeName  # noqa: TC001 - likewise
from unmask.tasks import Columns
from unmask.tasks.calibration import Abstaining
from unmask.workflows.predict import predict_examples
from unmask.workflows.trained import Trained, load_trained

if TYPE_CHECKING:
    from collections.abc import Sequence

_HELP = """\
Texts come from the command line, from --data, or else from standard input, one a line. --output writes JSON lines.

  unmask predict runs/mine "They drank the pub." "They drank the beer."
  unmask predict runs/pairs "A man eats." --text-pair "Someone is eating."
  unmask predict runs/qa "Who slept?" --text-pair "They drank the pub, and Mary slept."
  unmask predict runs/mine --data texts.tsv --text-column sentence --output labelled.jsonl
  unmask predict runs/mine --data texts.tsv --mistake-cost 5 --abstain-cost 1
  unmask predict exported/mine "They drank the pub." --runtime onnx
  cat texts.txt | unmask predict runs/mine"""


@dataclass(frozen=True, kw_only=True)
class _Arguments(Abstaining):
    """Ask a fine-tuned model for its answers to texts.

    Args:
        model: a run folder, a model folder or a hub id; for --runtime onnx an exported folder.
        texts: the texts.
        text_pair: the second text of a pair, for each text given here; of a question the text it is asked of.
        data: a file of texts, in the formats of training files; its label column, if any, is not read.
        split: which part of a data set.
        data_dir: folder in which a relative path is also looked for; None is what the run had, or else the variable
            UNMASK_DATA_DIR.
        column_names: names for the columns of a file without a header; None is what the run had, and none at all says
            that there is a header.
        text_column: the column of the text; None is what the run had.
        text_pair_column: the column of the second text of a pair; None is what the run had.
        output: a file for the predictions, one JSON object a line.
        device: "cpu", "cuda" or "cuda:1"; None takes CUDA where there is one.
        runtime: what computes the model: "torch", or "onnx", which starts in a second and needs no torch.
    """

    model: Positional[str]
    texts: Positional[tuple[str, ...]] = ()
    text_pair: str | None = None
    data: str | None = None
    split: str | None = None
    data_dir: Path | None = None
    column_names: tuple[str, ...] | None = None
    text_column: str | None = None
    text_pair_column: str | None = None
    output: Path | None = None
    device: str | None = None
    runtime: RuntimeName = "torch"


def run(arguments: Sequence[str]) -> None:
    """Parse, predict, print a table or write JSON lines."""
    typed, as_json = parse_with_json(
        _Arguments, arguments, command="predict", more_help=_HELP, printed="a line of JSON a text"
    )
    trained = load_trained(typed.model, device=typed.device, runtime=typed.runtime)
    predictions = predict_examples(trained, _read(trained, typed), abstaining=typed)
    if typed.threshold is not None:
        _tell_abstentions(trained, predictions, typed.threshold)
    lines = (json.dumps(prediction.to_dict(), ensure_ascii=False) for prediction in predictions)
    if typed.output is not None:
        write_text(typed.output, "".join(f"{line}\n" for line in lines))
        print(f"{len(predictions):,} predictions written to {typed.output}", file=sys.stderr)
    elif as_json:
        for line in lines:
            print(line)
    else:
        Console().print(predictions_table(predictions))


def _tell_abstentions(trained: Trained, predictions: Sequence[Any], threshold: float) -> None:
    without = sum(prediction.label is None for prediction in predictions)
    print(f"{without:,} of {len(predictions):,} texts left without a label, below {threshold:.4g}", file=sys.stderr)
    if trained.task.options.temperature is None:
        print("this model's probabilities were never calibrated: it may be surer than it should", file=sys.stderr)


def _read(trained: Trained, typed: _Arguments) -> list[Any]:
    if typed.texts and typed.data is not None:
        raise SettingsError("give texts or --data, not both")
    if typed.data is None:
        rows = (InputRow(text, "texts", number) for number, text in enumerate(typed.texts, start=1))
        return [
            trained.task.from_text(row.value, typed.text_pair, source=row.source, line=row.line)
            for row in (rows if typed.texts else read_inputs())
        ]
    if typed.text_pair is not None:
        raise SettingsError("--text-pair goes with texts: of a file name the column, with --text-pair-column")
    return trained.read(
        typed.data,
        columns=Columns(text=typed.text_column, text_pair=typed.text_pair_column),
        column_names=typed.column_names,
        split=typed.split,
        data_dir=typed.data_dir,
        with_labels=False,
    )
