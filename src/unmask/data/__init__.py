"""Labelled data: reading it, parting it, and a small set of our own to start with."""

from unmask.data.acceptability import make_acceptability_set
from unmask.data.splits import split_indices
from unmask.data.tables import Table, names_a_file, read_table

__all__ = ["Table", "make_acceptability_set", "names_a_file", "read_table", "split_indices"]
