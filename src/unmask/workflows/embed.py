"""Turn texts into vectors: a file in, a file out, of any length.

unmask embed texts.jsonl --output vectors.parquet
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path  # noqa: TC003 - the command line is made from these annotations
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from unmask.errors import DataError, SettingsError
from unmask.files import new_file
from unmask.pipelines import pipeline, read_inputs
from unmask.pipelines.feature_extraction import FeatureExtraction
from unmask.pipelines.vectors import Pooling, choose_vectors
from unmask.runtimes import RuntimeName  # noqa: TC001 - likewise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from unmask.pipelines import InputRow

__all__ = ["Embedded", "embed"]

Write = Callable[[list[str], "NDArray[np.float32]"], None]  # some texts, and the vector of each, (N, D)

_VECTORS_AT_ONCE = 1024  # that are written together: a row group of Parquet


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """What became of some texts.

    Args:
        output: the file of their vectors.
        num_texts: how many there were.
        num_dimensions: of each vector.
        pooling: what made it of the tokens' vectors.
        normalize: whether it has length 1.
    """

    output: Path
    num_texts: int
    num_dimensions: int
    pooling: Pooling
    normalize: bool


def embed(
    source: str | Path | None = None,
    /,
    *,
    output: Path,
    model: str = "minilm",
    pooling: Pooling | None = None,
    normalize: bool | None = None,
    text_column: str | None = None,
    data_dir: Path | None = None,
    truncation: bool | None = None,
    device: str | None = None,
    runtime: RuntimeName = "torch",
) -> Embedded:
    """Turn each text of a file into a vector.

    Texts are read and vectors written as they come, so memory does not grow with the file. The output is whole or does
    not exist.

    Args:
        source: texts in .txt, .jsonl, .tsv, .csv or .parquet, perhaps gzipped; None, or "-", is standard input, a text
            a line.
        output: a .parquet (columns text and embedding), .jsonl (likewise) or .npy file (an array of float32, a row a
            text).
        model: a run folder, a model folder, a hub id or "minilm".
        pooling: "cls" takes the first token's vector, "mean" the mean over all, "max" the largest of each dimension.
            None does as the model's folder says, as those of sentence-transformers do, or else takes the mean.
        normalize: bring vectors to length 1, so that a product of two is their cosine. None does as the model's folder
            says, and does not otherwise.
        text_column: the column, or key, of the text; None is the first there is of text, sentence, sentence1, document
            and review.
        data_dir: folder in which a relative path is also looked for; None is the variable UNMASK_DATA_DIR.
        truncation: cut texts that are too long, or refuse them. None cuts where a sentence-transformers model does, and
            refuses otherwise.
        device: "cpu", "cuda" or "cuda:1"; None takes CUDA where there is one.
        runtime: what computes the model: "torch"; or "onnx", for an exported encoder.

    Raises:
        CheckpointError: nothing usable is found under the model's name, or it makes vectors in another way.
        DataError: the file is missing or broken, or has no text, or one that is empty or too long; or the disk is full.
        SettingsError: there is no such pooling, or output of that kind.
    """
    suffix = output.suffix.lower()
    writers = {".parquet": _parquet_writer, ".jsonl": _json_writer, ".npy": _numpy_writer}
    if suffix not in writers:
        raise SettingsError(f"output is {output}: its name must end in {', '.join(writers)}")
    columns = {} if text_column is None else {"text": text_column}
    rows = read_inputs(source, data_dir=data_dir, **columns)
    extractor = pipeline("feature-extraction", model, device=device, runtime=runtime)
    assert isinstance(extractor, FeatureExtraction)
    chosen, has_length_1 = choose_vectors(extractor.model, pooling, normalize)
    how = {"pooling": chosen, "normalize": has_length_1, "truncation": truncation, "return_arrays": True}
    extractor.told(**how)  # before anything is read
    texts: list[str] = []
    vectors = extractor.stream(_noting(rows, texts), progress=True, **how)
    num_texts, num_dimensions = 0, 0
    with new_file(output) as file, writers[suffix](file) as write:
        while some := list(islice(vectors, _VECTORS_AT_ONCE)):
            made = np.stack(some)
            write(texts[: len(made)], made)
            del texts[: len(made)]
            num_texts, num_dimensions = num_texts + len(made), made.shape[1]
        if not num_texts:
            raise DataError("there is no text in it", path="standard input" if source in (None, "-") else source)
    return Embedded(
        output=output,
        num_texts=num_texts,
        num_dimensions=num_dimensions,
        pooling=chosen,
        normalize=has_length_1,
    )


def _noting(rows: Iterator[InputRow], texts: list[str]) -> Iterator[InputRow]:
    """Pass rows on, and note the text of each, to be written beside its vector."""
    for row in rows:
        texts.append(row.value)
        yield row


@contextmanager
def _parquet_writer(file: BinaryIO) -> Iterator[Write]:
    import pyarrow
    import pyarrow.parquet

    opened: list[pyarrow.parquet.ParquetWriter] = []

    def write(texts: Sequence[str], vectors: NDArray[np.float32]) -> None:
        values = pyarrow.array(vectors.reshape(-1))
        embeddings = pyarrow.FixedSizeListArray.from_arrays(values, vectors.shape[1])
        table = pyarrow.table({"text": pyarrow.array(texts, pyarrow.string()), "embedding": embeddings})
        if not opened:
            opened.append(pyarrow.parquet.ParquetWriter(file, table.schema))
        opened[0].write_table(table)

    try:
        yield write
    finally:
        for writer in opened:
            writer.close()


@contextmanager
def _json_writer(file: BinaryIO) -> Iterator[Write]:
    def write(texts: Sequence[str], vectors: NDArray[np.float32]) -> None:
        for text, vector in zip(texts, vectors, strict=True):
            numbers = ", ".join(map(str, vector))  # as few digits as tell a float32 from its neighbours
            line = f'{{"text": {json.dumps(text, ensure_ascii=False)}, "embedding": [{numbers}]}}\n'
            file.write(line.encode())

    yield write


@contextmanager
def _numpy_writer(file: BinaryIO) -> Iterator[Write]:
    """Write rows behind a header that is written again when their number is known; numpy leaves room for that."""
    num_rows, width = 0, 0

    def write_header() -> None:
        header = {"descr": "<f4", "fortran_order": False, "shape": (num_rows, width)}
        np.lib.format.write_array_header_1_0(file, header)

    def write(texts: Sequence[str], vectors: NDArray[np.float32]) -> None:
        nonlocal num_rows, width
        if not num_rows:
            width = vectors.shape[1]
            write_header()
        num_rows += len(vectors)
        file.write(vectors.astype("<f4").tobytes())

    yield write
    file.seek(0)
    write_header()
