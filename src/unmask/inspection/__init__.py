"""Looking into models: what they attend to, what their vectors are like, what moves their predictions.

One file for each thing to look at. Functions take a model and its tokenizer, and return what they found as plain
numbers with a name each; `unmask.workflows.inspect` finds the model, `unmask.reporting.inspection` draws what was
found.
"""

from unmask.inspection.attention import AttentionMaps, HeadAttention, measure_attention
from unmask.inspection.contexts import ContextLayer, ContextualWord, compare_contexts
from unmask.inspection.gradients import Attribution, Baseline, attribute_prediction
from unmask.inspection.layers import LayerChange, LayerChanges, measure_layers
from unmask.inspection.neighbours import Neighbour, Neighbours, nearest_to_tokens, nearest_to_word
from unmask.inspection.reading import ReadText, read_text
from unmask.inspection.replaced import TokenVerdict, Verdicts, judge_tokens

__all__ = [
    "AttentionMaps",
    "Attribution",
    "Baseline",
    "ContextLayer",
    "ContextualWord",
    "HeadAttention",
    "LayerChange",
    "LayerChanges",
    "Neighbour",
    "Neighbours",
    "ReadText",
    "TokenVerdict",
    "Verdicts",
    "attribute_prediction",
    "compare_contexts",
    "judge_tokens",
    "measure_attention",
    "measure_layers",
    "nearest_to_tokens",
    "nearest_to_word",
    "read_text",
]
