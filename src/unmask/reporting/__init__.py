"""Reports: what a run left behind, as one page a person can open.

A report is a list of sections, each made from the run's record by a small function; a task chooses its sections and
adds its own (see `classification.py` and `pretraining.py`).
"""

from unmask.reporting.classification import CLASSIFICATION_SECTIONS
from unmask.reporting.page import Plot, Section, html_list, html_table
from unmask.reporting.pretraining import PRETRAINING_SECTIONS
from unmask.reporting.record import RunRecord
from unmask.reporting.report import SECTIONS, write_report

__all__ = [
    "CLASSIFICATION_SECTIONS",
    "PRETRAINING_SECTIONS",
    "SECTIONS",
    "Plot",
    "RunRecord",
    "Section",
    "html_list",
    "html_table",
    "write_report",
]
