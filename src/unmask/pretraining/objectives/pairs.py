"""The two questions about pairs of texts. They differ in how the pairs are made (`unmask.pretraining.formats`)."""

from __future__ import annotations

from unmask.pretraining.objectives.objective import PairObjective

__all__ = ["NextSentencePrediction", "SentenceOrderPrediction"]


class NextSentencePrediction(PairObjective):
    """Does the second text follow the first in its document, or is it from another?

    Devlin et al. 2019 (arXiv:1810.04805), section 3.1 "Task #2". Label 0 is "is next", as in Google's and Hugging
    Face's checkpoints; some textbooks have it the other way round: `1 - label` converts.
    """

    name = "nsp"
    label_names = ("is next", "is not next")


class SentenceOrderPrediction(PairObjective):
    """Are two neighbouring texts in their order, or swapped? Lan et al. 2020 (arXiv:1909.11942), section 3.1.

    Label 0 is "in order", as in Hugging Face's `AlbertForPreTraining`.
    """

    name = "sop"
    label_names = ("in order", "swapped")
