"""Exported folders without an exporter: graphs of a few nodes, written by hand, whose numbers a line of numpy gives.

Each token's row is `words[id] + types[type]` plus the mean of these over its sequence, which padding would spoil if it
were counted. A head of whole sequences gives that mean alone; one of replaced tokens the first number of each row.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

from tiny import VOCABULARY
from unmask.tokenization import Tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from unmask.ragged import Ragged

ARCHITECTURES = {
    "encoder": "BertModel",
    "sequence-classification": "BertForSequenceClassification",
    "token-classification": "BertForTokenClassification",
    "question-answering": "BertForQuestionAnswering",
    "masked-lm": "BertForMaskedLM",
    "next-sentence": "BertForNextSentencePrediction",
    "replaced-token": "ElectraForPreTraining",
    "causal-lm": "GPT2LMHeadModel",
}
OF_SEQUENCES = ("sequence-classification", "next-sentence")


def tables(num_outputs: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What each word and each type adds: (V, K) and (2, K); padding's word is huge."""
    rng = np.random.default_rng(0)
    words, types = (rng.normal(size=(count, num_outputs)).astype(np.float32) for count in (len(VOCABULARY), 2))
    words[0] = 1000
    return words, types


def expected_rows(
    head: str, input_ids: Ragged, token_type_ids: Ragged, num_outputs: int, *, takes_types: bool = True
) -> list[NDArray[np.float32]]:
    """What the graph of `save_export` gives of each sequence."""
    words, types = tables(num_outputs)
    made = []
    for ids, own_types in zip(input_ids, token_type_ids, strict=True):
        rows = words[ids] + types[own_types] * takes_types
        mean = rows.mean(0, keepdims=True)
        made.append(mean if head in OF_SEQUENCES else (rows + mean)[:, :1] if head == "replaced-token" else rows + mean)
    return made


def save_export(
    folder: Path,
    head: str,
    *,
    num_outputs: int = 2,
    takes_types: bool = True,
    graph_names: dict[str, str] | None = None,
    max_seq_length: int = 40,
    **config: Any,
) -> Path:
    """Write a folder as the exporter does; graph_names gives inputs and outputs other names."""
    folder.mkdir(parents=True)
    words, types = tables(num_outputs)
    names = {"input_ids": "input_ids", "attention_mask": "attention_mask", "token_type_ids": "token_type_ids"}
    output = "last_hidden_state" if head == "encoder" else "logits"
    names |= {output: output} | (graph_names or {})
    mask, node = names["attention_mask"], helper.make_node
    nodes = [
        node("Gather", ["words", names["input_ids"]], ["words_of"]),
        *([node("Gather", ["types", names["token_type_ids"]], ["types_of"])] if takes_types else []),
        *(
            [node("Add", ["words_of", "types_of"], ["rows"])]
            if takes_types
            else [node("Identity", ["words_of"], ["rows"])]
        ),
        node("Cast", [mask], ["mask"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["mask", "last"], ["mask_of"]),
        node("Mul", ["rows", "mask_of"], ["real"]),
        node("ReduceSum", ["real", "middle"], ["total"], keepdims=1),
        node("ReduceSum", ["mask_of", "middle"], ["count"], keepdims=1),
        node("Div", ["total", "count"], ["mean"]),
        node("Add", ["rows", "mean"], ["all"]),
    ]
    if head in OF_SEQUENCES:
        nodes.append(node("Squeeze", ["mean", "middle"], [names[output]]))
        shape: list[Any] = ["B", num_outputs]
    elif head == "replaced-token":
        nodes.append(node("Gather", ["all", "zero"], [names[output]], axis=2))
        shape = ["B", "S"]
    else:
        nodes.append(node("Identity", ["all"], [names[output]]))
        shape = ["B", "S", num_outputs]
    inputs = [names[name] for name in ("input_ids", "attention_mask", *(["token_type_ids"] if takes_types else []))]
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["B", "S"]) for name in inputs],
        [helper.make_tensor_value_info(names[output], TensorProto.FLOAT, shape)],
        [
            numpy_helper.from_array(words, "words"),
            numpy_helper.from_array(types, "types"),
            numpy_helper.from_array(np.array([2]), "last"),
            numpy_helper.from_array(np.array([1]), "middle"),
            numpy_helper.from_array(np.array(0), "zero"),
        ],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "model.onnx")
    values = {
        "model_type": "bert",
        "architectures": [ARCHITECTURES[head]],
        "vocab_size": len(VOCABULARY),
        "pad_token_id": 0,
        "id2label": {str(n): f"L{n}" for n in range(num_outputs)},
    }
    (folder / "config.json").write_text(json.dumps(values | config))
    vocab_file = folder.with_name(f"{folder.name}-vocab.txt")
    vocab_file.write_text("".join(f"{word}\n" for word in VOCABULARY))
    Tokenizer.from_vocab(vocab_file).save(folder, model_max_length=max_seq_length)
    return folder
