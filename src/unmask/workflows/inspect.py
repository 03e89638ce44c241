"""Look into models: what they attend to, what their layers do, what moves their predictions.

unmask inspect bert-base-uncased "The old man slept." --attention
unmask inspect bert-base-uncased albert-base-v2 --layers
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unmask.errors import CheckpointError, DataError, SettingsError
from unmask.hub import resolve
from unmask.inspection import (
    AttentionMaps,
    Attribution,
    Baseline,
    ContextualWord,
    LayerChange,
    LayerChanges,
    Neighbours,
    Verdicts,
    attribute_prediction,
    compare_contexts,
    judge_tokens,
    measure_attention,
    measure_layers,
    nearest_to_tokens,
    nearest_to_word,
    read_text,
)
from unmask.models.registry import read_model_config, saved_head
from unmask.workflows.loading import Pretrained, load

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from unmask.inspection import ReadText

__all__ = [
    "LayerChange",
    "LayerChanges",
    "inspect_attention",
    "inspect_gradients",
    "inspect_layers",
    "inspect_nearest",
    "inspect_replaced",
    "inspect_tokens",
    "inspect_word",
]

_TEXTS = (
    "The old lighthouse had not been lit for thirty years, and the fishermen had learnt to do without it.",
    "Which of the two reports that you sent me yesterday should I read first?",
    "Water boils at a lower temperature in the mountains, because the air presses less on its surface.",
    "She put the letter back into its envelope, unread, and asked him to take it away.",
    "In 1969 the committee met eleven times, agreed on nothing, and was then dissolved by its chairman.",
    "To install the program, copy the folder to your computer and run the first file in it.",
    "Nobody believed the boy when he said that the river had changed its colour overnight.",
    "The price of bread rose by a fifth within a month; by the end of the winter it had doubled.",
)


def inspect_layers(*models: str | Path, texts: Sequence[str] | None = None) -> list[LayerChanges]:
    """Measure how far each layer's output lies from its input: L2 distance and cosine, averaged over tokens.

    Lan et al. 2020 (arXiv:1909.11942), section 3.1 and figure 1: where layers share their parameters (ALBERT) the
    distances change smoothly from layer to layer, where they do not (BERT) they oscillate.

    Args:
        models: folders, hub ids or "minilm".
        texts: what the models read, each cut where its positions end; None takes eight English sentences.

    Raises:
        CheckpointError: nothing usable is found under a name.
        SettingsError: there is no model, or no text.
    """
    if not models:
        raise SettingsError("no model: name one or more, such as bert-base-uncased albert-base-v2")
    texts = _TEXTS if texts is None else tuple(texts)
    if not any(text.strip() for text in texts):
        raise SettingsError("no text: give one or more, or leave texts out for those built in")
    return [_inspect_layers(model, texts) for model in models]


def inspect_attention(model: str | Path | Pretrained, text: str, text_pair: str | None = None) -> AttentionMaps:
    """Show what each head of each layer attends to in a text, or a pair: its map, and a line of figures.

    Args:
        model: a folder, a hub id or "minilm", or what `load` made of one; a head on it changes nothing.
        text: what it reads.
        text_pair: the second of a pair.

    Raises:
        CheckpointError: nothing usable is found under that name.
        DataError: the text is empty, or longer than the model takes.
    """
    pretrained = _pretrained(model)
    return measure_attention(pretrained.model, pretrained.tokenizer, _read(pretrained, text, text_pair))


def inspect_tokens(model: str | Path | Pretrained, text: str, *, top_k: int = 3) -> list[Neighbours]:
    """Show the tokens of a text, the length of their static embeddings and the tokens nearest to each.

    Args:
        model: as in `inspect_attention`.
        text: what is cut into tokens.
        top_k: neighbours of each.

    Raises:
        UnmaskError: as there; or top_k is out of range.
    """
    pretrained = _pretrained(model)
    return nearest_to_tokens(pretrained.model, pretrained.tokenizer, _read(pretrained, text), top_k=top_k)


def inspect_nearest(model: str | Path | Pretrained, word: str, *, top_k: int = 10) -> Neighbours:
    """Show the tokens whose static embeddings are nearest to a word's, by cosine.

    Args:
        model: as in `inspect_attention`.
        word: of one piece, or of several, whose mean is compared.
        top_k: how many.

    Raises:
        CheckpointError: nothing usable is found under that name.
        DataError: the word is empty, or unknown to the vocabulary.
        SettingsError: top_k is out of range.
    """
    pretrained = _pretrained(model)
    return nearest_to_word(pretrained.model, pretrained.tokenizer, word, top_k=top_k)


def inspect_gradients(
    model: str | Path | Pretrained,
    text: str,
    text_pair: str | None = None,
    *,
    target: str | None = None,
    baseline: Baseline = "zero",
    num_points: int | None = None,
) -> Attribution:
    """Show which tokens move a prediction: integrated gradients (Sundararajan et al. 2017, arXiv:1703.01365).

    Args:
        model: a run or folder of a classifier (or regression), or of a masked language model, whose guess for the
            text's first mask is explained.
        text: what it reads.
        text_pair: the second of a pair.
        target: the label, or the word for the mask, to explain; None explains what the model predicts.
        baseline: what the text is compared with: each word embedding set to "zero", or to that of [MASK] ("mask").
        num_points: points of the integral; None takes as many as make the attributions add up to the change of the
            prediction within 1e-3.

    Raises:
        CheckpointError: the model predicts nothing that is explained here.
        DataError: the text is empty, too long, or has no mask to guess.
        SettingsError: there is no such target or baseline.
    """
    pretrained = _pretrained(model, predicting=True)
    read = _read(pretrained, text, text_pair)
    return attribute_prediction(
        pretrained.model, pretrained.tokenizer, read, target=target, baseline=baseline, num_points=num_points
    )


def inspect_word(model: str | Path | Pretrained, word: str, first: str, second: str) -> ContextualWord:
    """Compare a word's vectors in two sentences, layer by layer, with one another and with its static embedding.

    Args:
        model: as in `inspect_attention`.
        word: that occurs in both.
        first: a sentence.
        second: another.

    Raises:
        CheckpointError: nothing usable is found under that name.
        DataError: a sentence is empty or too long, or the word does not occur in it.
    """
    pretrained = _pretrained(model)
    return compare_contexts(pretrained.model, word, _read(pretrained, first), _read(pretrained, second))


def inspect_replaced(model: str | Path | Pretrained, *texts: str) -> list[Verdicts]:
    """Ask the discriminator of an ELECTRA which tokens of texts were replaced.

    Args:
        model: a folder, run or hub id of one, or what `load` made of it.
        texts: what it reads, each for itself.

    Raises:
        CheckpointError: the model is no discriminator.
        DataError: a text is empty, or longer than the model takes; or there is none.
    """
    if not texts:
        raise DataError("no text: give one or more")
    pretrained = _pretrained(model)
    try:
        return [judge_tokens(pretrained.model, _read(pretrained, text)) for text in texts]
    except CheckpointError as error:
        raise CheckpointError(f"{pretrained.folder}: {error}") from error


def _pretrained(model: str | Path | Pretrained, *, predicting: bool = False) -> Pretrained:
    """Load a model with the head it was saved with; for predictions with its masked LM head alone, where it has two."""
    if isinstance(model, Pretrained):
        return model
    both = predicting and saved_head(read_model_config(resolve(model))) == "pre-training"
    return load(model, head="masked-lm" if both else None)


def _read(pretrained: Pretrained, text: str, text_pair: str | None = None) -> ReadText:
    tokenizer = pretrained.tokenizer
    # A mask may be typed either way, whatever the vocabulary calls it.
    for typed in ("[MASK]", "<mask>"):
        if tokenizer.mask_token is not None and tokenizer.mask_token not in text:
            text = text.replace(typed, tokenizer.mask_token)
    return read_text(tokenizer, text, text_pair, max_seq_length=pretrained.max_seq_length)


def _inspect_layers(model: str | Path, texts: Sequence[str]) -> LayerChanges:
    pretrained = load(model)
    encodings = pretrained.tokenizer.encode_batch(texts, max_length=pretrained.max_seq_length).encodings
    ids = [encoding.input_ids for encoding in encodings if encoding.input_ids]
    return LayerChanges(
        model=str(model),
        model_type=pretrained.config.model_type,
        num_texts=len(ids),
        num_tokens=sum(map(len, ids)),
        layers=tuple(measure_layers(pretrained.model, ids)),
    )
