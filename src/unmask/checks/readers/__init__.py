"""How the examples of each task are read, whatever the errors of their file; a new task adds a line."""

from unmask.checks.readers.questions import read_question_items
from unmask.checks.readers.sentences import read_sentences
from unmask.checks.readers.texts import read_label_sets, read_one_label
from unmask.checks.sieve import Log, Reader
from unmask.checks.subject import DataSet, Item, Role
from unmask.data import Finding, names_a_file
from unmask.data.sources import find_source
from unmask.errors import DataError
from unmask.tasks import Classification, Reading, Regression

__all__ = ["READERS", "read_set"]

READERS: dict[str, Reader] = {
    "classification": read_one_label(Classification),
    "multi-label": read_label_sets,
    "regression": read_one_label(Regression),
    "tagging": read_sentences,
    "question-answering": read_question_items,
}

_FILES_ONLY = ("tagging", "question-answering")


def read_set(task: str, role: Role, source: str, reading: Reading) -> tuple[DataSet, list[Finding]]:
    """Read what can be read of a file or data set, and tell all that cannot.

    Args:
        task: key of `READERS`.
        role: what the set is for.
        source: a file, gzipped or not, or a data set, as `unmask.data.read_table` takes it.
        reading: how it is read.
    """
    log = Log(source)
    items: list[Item] = []
    try:
        path = find_source(source, reading.data_dir, is_file=task in _FILES_ONLY or names_a_file(source))
        log.path = str(source if path is None else path)
        if reading.split is not None and task not in _FILES_ONLY and (path is None or path.is_dir()):
            log.path += f" ({reading.split})"  # as tables of such a part are called
        items = READERS[task](source, path, reading, log)
    except DataError as error:
        log.refuse(error)
    return DataSet(role=role, source=source, path=log.path, items=items, num_refused=log.num_refused), log.findings
