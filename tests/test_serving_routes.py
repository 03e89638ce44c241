"""Every route answers what the pipeline of the same model answers, alone and under load; and what it cannot, it says.

Run: pytest tests/test_serving_routes.py
"""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from served import error_of, serving
from tiny_families import TAGS, TEXTS, numbered, save_tiny
from unmask import pipeline
from unmask.pipelines import open_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from served import Served

MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "labels": ("bert", "sequence-classification", {"id2label": numbered(("bad", "good", "neither"))}),
    "tags": ("bert", "token-classification", {"id2label": numbered(TAGS)}),
    "words": ("roberta", "masked-lm", {}),
    "answers": ("electra", "question-answering", {}),
    "vectors": ("albert", "encoder", {}),
    "pairs": ("bert", "next-sentence", {}),
    "verdicts": ("electra", "replaced-token", {}),
    "writer": ("gpt2", "causal-lm", {}),
}
SHORT = [text[:50] for text in TEXTS]
QUESTIONS = [{"question": text[:20], "context": " ".join(TEXTS[n : n + 4])} for n, text in enumerate(TEXTS)]
COMPARED = {"source_sentence": SHORT[0], "sentences": SHORT[1:4]}

# route, body beside the inputs, model, task, options of the pipeline, inputs
CASES: dict[str, tuple[str, dict[str, Any], str, str, dict[str, Any], list[Any]]] = {
    "predict": ("/predict", {}, "labels", "text-classification", {"top_k": None}, SHORT),
    "raw scores": ("/predict", {"raw_scores": True}, "labels", "text-classification",
                   {"top_k": None, "function_to_apply": "none"}, SHORT),
    "cut": ("/predict", {"truncate": True}, "labels", "text-classification",
            {"top_k": None, "truncation": True}, [text * 5 for text in SHORT]),
    "tag": ("/tag", {}, "tags", "token-classification", {}, [" ".join(TEXTS)[:300], *TEXTS]),
    "tokens": ("/tag", {"aggregation_strategy": "none", "ignore_labels": []}, "tags", "token-classification",
               {"aggregation_strategy": "none", "ignore_labels": ()}, TEXTS),
    "fill": ("/fill-mask", {"top_k": 3}, "words", "fill-mask", {"top_k": 3},
             [f"{text} <mask>" + " the <mask>" * (n % 3) for n, text in enumerate(SHORT)]),
    "fill targets": ("/fill-mask", {"targets": ["a", "b"]}, "words", "fill-mask", {"targets": ("a", "b")},
                     [f"{text} [MASK]" for text in SHORT]),
    "answer": ("/answer", {"top_k": 2}, "answers", "question-answering", {"top_k": 2}, QUESTIONS),
    "embed": ("/embed", {"normalize": True}, "vectors", "feature-extraction",
              {"pooling": "mean", "normalize": True}, SHORT),
    "embed cls": ("/embed", {"normalize": False, "pooling": "cls"}, "vectors", "feature-extraction",
                  {"pooling": "cls"}, SHORT),
    "pairs": ("/next-sentence", {}, "pairs", "next-sentence-prediction", {"top_k": None},
              [list(pair) for pair in pairwise(SHORT)]),
    "verdicts": ("/replaced-tokens", {"threshold": 0.2}, "verdicts", "replaced-token-detection",
                 {"threshold": 0.2}, SHORT),
    "write": ("/generate", {"parameters": {"max_new_tokens": 7, "temperature": 0.9, "seed": 3}}, "writer",
              "text-generation", {"max_new_tokens": 7, "temperature": 0.9, "seed": 3}, SHORT[:9]),
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("models")
    return {name: save_tiny(place / name, family, head, **more) for name, (family, head, more) in MODELS.items()}


@pytest.fixture(scope="module")
def served(folders: dict[str, Path]) -> Iterator[Served]:
    with serving(folders) as running:
        yield running


def assert_close(ours: Any, theirs: Any) -> None:
    """Equal as JSON, numbers to 1e-5."""
    if isinstance(theirs, list | tuple):
        assert isinstance(ours, list)
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_close(one, other)
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key in theirs:
            assert_close(ours[key], theirs[key])
    else:
        assert ours == (pytest.approx(theirs, abs=1e-5) if isinstance(theirs, float) else theirs)


def batch_of(route: str, inputs: list[Any]) -> list[Any]:
    return [[one] for one in inputs] if route == "/predict" else inputs


@pytest.mark.parametrize("case", CASES)
def test_a_route_answers_as_the_pipeline_does(served: Served, folders: dict[str, Path], case: str) -> None:
    route, body, name, task, options, inputs = CASES[case]
    expected = pipeline(task, folders[name], device="cpu")(inputs, **options)
    together = served.ask(route, {"inputs": batch_of(route, inputs), **body})
    assert together.status_code == 200, together.text
    assert together.headers["content-type"] == "application/json"
    assert_close(together.json(), expected)
    alone = served.ask(route, {"inputs": inputs[2], "model": name, **body}).json()
    assert_close(alone, [expected[2]] if route == "/embed" else expected[2])


def test_answers_are_the_same_under_load(served: Served, folders: dict[str, Path]) -> None:
    """Many clients at once, each with one text of any route; they are computed together, and nobody can tell."""
    asked = [(case, number) for case in CASES for number in range(len(CASES[case][-1]))]
    random.Random(5).shuffle(asked)
    expected = {
        case: pipeline(task, folders[name], device="cpu")(inputs, **options)
        for case, (_, _, name, task, options, inputs) in CASES.items()
    }
    before = served.metric("unmask_batch_texts_count")

    def ask(one: tuple[str, int]) -> Any:
        route, body, *_, inputs = CASES[one[0]]
        return served.ask(route, {"inputs": inputs[one[1]], **body}).json()

    with ThreadPoolExecutor(24) as clients:
        for (case, number), answer in zip(asked, clients.map(ask, asked), strict=True):
            own = expected[case][number]
            assert_close(answer, [own] if CASES[case][0] == "/embed" else own)
    assert served.metric("unmask_batch_texts_count") - before < len(asked) * 0.8  # passes


def test_predict_reads_inputs_as_text_embeddings_inference_does(served: Served, folders: dict[str, Path]) -> None:
    ours = pipeline("text-classification", folders["labels"], device="cpu", top_k=None)
    pair = ["the dog", "a cat"]
    assert_close(served.ask("/predict", {"inputs": pair}).json(), ours([pair])[0])
    assert_close(served.ask("/predict", {"inputs": ["the dog"]}).json(), ours(["the dog"])[0])
    assert_close(served.ask("/predict", {"inputs": [["the dog"], pair]}).json(), ours(["the dog", pair]))
    assert error_of(served.ask("/predict", {"inputs": ["a", "b", "c"]}))[:2] == (422, "Validation")


def test_similarity(served: Served, folders: dict[str, Path]) -> None:
    ours = pipeline("sentence-similarity", folders["vectors"], device="cpu")
    assert_close(served.ask("/similarity", {"inputs": COMPARED}).json(), ours(COMPARED))
    told = {"pooling": "max", "truncate": True}
    answer = served.ask("/similarity", {"inputs": COMPARED, "parameters": told}).json()
    assert_close(answer, ours(COMPARED, pooling="max", truncation=True))


def test_tokens_there_and_back(served: Served, folders: dict[str, Path]) -> None:
    tokenizer = open_model(folders["labels"], device="cpu").tokenizer
    text = "the dogs  sleep."
    [tokens] = served.ask("/tokenize", {"inputs": text}).json()
    encoding = tokenizer.encode(text)
    assert [token["id"] for token in tokens] == encoding.input_ids
    assert tokens[0] == {"id": encoding.input_ids[0], "text": "[CLS]", "special": True, "start": None, "stop": None}
    assert [token["text"] for token in tokens[1:-1]] == ["the", "dog", "s", "sleep", "."]
    assert all(text[token["start"] : token["stop"]] == token["text"] for token in tokens[1:-1])
    [plain] = served.ask("/tokenize", {"inputs": [text], "add_special_tokens": False}).json()
    assert plain == tokens[1:-1]
    ids = encoding.input_ids
    assert served.ask("/decode", {"ids": ids}).json() == [tokenizer.decode(ids)]
    both = served.ask("/decode", {"ids": [ids, ids[:3]], "skip_special_tokens": False}).json()
    assert both == [tokenizer.decode(some, skip_special_tokens=False) for some in (ids, ids[:3])]
    assert error_of(served.ask("/decode", {"ids": [10**6]}))[:2] == (422, "Tokenizer")
    assert error_of(served.ask("/decode", {"ids": []}))[:2] == (400, "Empty")
    of_bytes = served.ask("/tokenize", {"inputs": "한", "model": "writer"}).json()
    assert len(of_bytes[0]) == 3


def test_a_request_names_its_model(served: Served) -> None:
    status, kind, message = error_of(served.ask("/predict", {"inputs": "a dog", "model": "nobody"}))
    assert (status, kind) == (404, "NotFound")
    assert "labels, tags, words" in message
    status, kind, message = error_of(served.ask("/predict", {"inputs": "a dog", "model": "tags"}))
    assert (status, kind) == (422, "Validation")
    assert message == "no model here does text-classification: tags does token-classification"


def test_info(served: Served) -> None:
    info = served.client.get("/info").json()
    assert list(info["models"]) == list(MODELS)
    assert info["model_id"] == "labels"
    assert info["model_type"]["classifier"]["id2label"] == {"0": "bad", "1": "good", "2": "neither"}
    assert info["model_type"]["classifier"]["label2id"] == {"bad": 0, "good": 1, "neither": 2}
    assert info["max_input_length"] == 40
    assert info["max_client_batch_size"] == 128
    assert info["models"]["vectors"]["model_type"] == {"embedding": {"pooling": "mean"}}
    assert info["models"]["writer"]["tasks"] == ["text-generation"]


def test_health_metrics_and_the_root(served: Served) -> None:
    assert served.client.get("/health").json() == {"status": "ok"}
    before = served.metric('unmask_requests_total{route="/tag",status="200"}')
    served.ask("/tag", {"inputs": "a dog"})
    text = served.client.get("/metrics").text
    assert f'unmask_requests_total{{route="/tag",status="200"}} {before + 1}' in text
    assert 'unmask_queue_requests{model="tags"} 0.0' in text
    assert served.metric("unmask_tokens_total") > 100
    assert served.client.get("/").json()["models"] == list(MODELS)


@pytest.mark.parametrize(
    ("route", "body", "expected"),
    [
        ("/predict", {"inputs": ""}, (422, "Validation", "inputs: the text is empty: write it, or leave it out")),
        ("/predict", {"inputs": [["a dog"], [" "]]}, (422, "Validation", "inputs[1]: the text is empty")),
        ("/predict", {"inputs": []}, (400, "Empty", "there is nothing to answer")),
        ("/predict", {"inputs": 5}, (422, "Validation", "inputs must be a text, a pair")),
        ("/predict", {}, (422, "Validation", "inputs is missing: give a text, a pair")),
        ("/predict", {"inputs": "a", "truncate": 1}, (422, "Validation", "truncate: input should be a valid boolean")),
        ("/predict", {"inputs": "a", "top_n": 1}, (422, "Validation", "there is no 'top_n' here; there are model,")),
        ("/predict", {"inputs": "a", "truncation_direction": "Left"}, (422, "Validation", "truncation_direction: ")),
        ("/predict", {"inputs": "the dog " * 30}, (413, "Validation", 'reads 40: shorten it, or say "truncate": true')),
        ("/predict", {"inputs": [["a"]] * 129}, (413, "Validation", "129 texts are more than the 128 of a request")),
        ("/predict", ["a"], (422, "Validation", "the body must be a JSON object")),
        ("/predict", {"inputs": "a\0"}, (422, "Validation", "inputs: the text holds a NUL")),
        ("/embed", {"inputs": "a", "pooling": "sum"}, (422, "Validation", "pooling: input should be 'cls'")),
        ("/similarity", {"inputs": {"source_sentence": "a", "sentences": []}}, (400, "Empty", "there is nothing")),
        ("/similarity", {"inputs": {"source_sentence": "a"}}, (422, "Validation", "inputs.sentences: field required")),
        ("/fill-mask", {"inputs": "no mask"}, (422, "Validation", "inputs: ")),
        ("/fill-mask", {"inputs": "<mask>", "targets": []}, (422, "Validation", "targets is empty")),
        ("/fill-mask", {"inputs": "<mask>", "top_k": 0}, (422, "Validation", "top_k: input should be greater")),
        ("/fill-mask", {"inputs": "<mask>" * 21, "top_k": 100}, (413, "Validation", "more than 2,000 guesses")),
        ("/tag", {"inputs": "a", "aggregation_strategy": "most"}, (422, "Validation", "aggregation_strategy: ")),
        ("/answer", {"inputs": {"question": "", "context": "a"}}, (422, "Validation", "inputs: the question is empty")),
        ("/answer", {"inputs": QUESTIONS[0], "max_seq_len": 999}, (422, "Validation", "max_seq_len is 999")),
        ("/generate", {"inputs": "a", "parameters": {"max_new_tokens": 257}}, (413, "Validation", "257 new tokens")),
        (
            "/generate",
            {"inputs": "a", "parameters": {"do_sample": False, "top_k": 1}},
            (422, "Validation", "do_sample"),
        ),
        ("/next-sentence", {"inputs": ["a"]}, (422, "Validation", "inputs must be a pair")),
        ("/replaced-tokens", {"inputs": "a", "threshold": 2}, (422, "Validation", "threshold: input should be less")),
    ],
)
def test_what_cannot_be_answered_is_said(served: Served, route: str, body: Any, expected: tuple[int, str, str]) -> None:
    status, kind, message = error_of(served.ask(route, body))
    assert (status, kind) == expected[:2]
    assert expected[2] in message


def test_the_document_of_the_api(served: Served) -> None:
    """Every route is described, with examples that it answers; none takes a place of this machine or another."""
    document = served.client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    posts = {path: methods["post"] for path, methods in document["paths"].items() if "post" in methods}
    assert set(posts) == {case[0] for case in CASES.values()} | {"/similarity", "/tokenize", "/decode"}
    for path, post in posts.items():
        assert {"400", "413", "422", "424", "429", "503"} <= set(post["responses"])
        assert post["description"]
        reference = post["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        schema = schemas[reference.rpartition("/")[2]]
        assert not {"path", "url", "file", "folder"} & set(schema["properties"])
        for example in schema["examples"]:
            body = json.loads(json.dumps(example).replace("[MASK]", "<mask>"))
            body |= {"truncate": True} if "truncate" in schema["properties"] else {}
            body |= {"ids": [2, 3]} if path == "/decode" else {}
            response = served.ask(path, body)
            assert response.status_code == 200, (path, response.text)
