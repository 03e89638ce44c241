"""Whatever is sent, the answer is an answer or a refusal, soon, and others are not harmed.

UNMASK_FUZZ_REQUESTS says how many random requests are sent, UNMASK_FUZZ_SEED which.

Run: UNMASK_FUZZ_REQUESTS=10000 pytest tests/test_serving_fuzz.py
"""

from __future__ import annotations

import copy
import json
import os
import random
import threading
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from served import serving
from test_serving_routes import CASES, COMPARED, MODELS
from tiny_families import save_tiny

if TYPE_CHECKING:
    from collections.abc import Iterator

    from served import Served

NUM_REQUESTS = int(os.environ.get("UNMASK_FUZZ_REQUESTS", "300"))
SEED = int(os.environ.get("UNMASK_FUZZ_SEED", "1"))
REFUSALS = {400, 404, 405, 413, 415, 422}  # what a request can be told that is sent whole, to a server with room

BODIES: list[tuple[str, Any]] = [
    *((route, {"inputs": inputs[1], "model": model, **body}) for route, body, model, *_, inputs in CASES.values()),
    ("/predict", {"inputs": [["the dog"], ["a", "b"]], "truncate": True, "truncation_direction": "Right"}),
    ("/similarity", {"inputs": COMPARED, "parameters": {"truncate": True}}),
    ("/tokenize", {"inputs": ["the dog", "a"], "add_special_tokens": False}),
    ("/decode", {"ids": [[1, 2], [3]], "skip_special_tokens": False}),
]
STRANGE: list[Any] = [
    None, True, -1, 0, 2**31, 2**63, 10**40, 1e308, -0.0, 1e-320, float("nan"), float("inf"), "", " ", "\0", "\ud800",
    "\u202e", "\ufffd\uffff", "🤖" * 9, "가" * 70, "한글 텍스트", "[MASK]", "<mask>" * 9, "a" * 5000, "the dog " * 90,
    [], [[]], [[[]]], {}, {"inputs": "a"}, ["a", 1], [["a"], "b"], ["a"] * 3, [["a"]] * 200, "../../etc/passwd",
    "http://localhost/", "file:///etc/passwd", "%s%n", "{{7*7}}", "'; drop table models; --",
]  # fmt: skip


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    place = tmp_path_factory.mktemp("models")
    folders = {name: save_tiny(place / name, family, head, **more) for name, (family, head, more) in MODELS.items()}
    with serving(folders, max_new_tokens=20, max_body_bytes=50_000, body_seconds=1) as running:
        yield running


def test_random_requests(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    rng = random.Random(SEED)
    expected = served.ask("/predict", {"inputs": "the dogs sleep"}).json()
    is_over, others = threading.Event(), []

    def ask_all_along() -> None:
        with httpx2.Client(base_url=served.client.base_url, timeout=30) as client:
            while not is_over.wait(0.01):
                others.append(client.post("/predict", json={"inputs": "the dogs sleep"}).json())

    bystander = threading.Thread(target=ask_all_along)
    bystander.start()
    statuses = set()
    try:
        for number in range(NUM_REQUESTS):
            method, path, headers, content = random_request(rng)
            response = served.client.request(method, path, headers=headers, content=content)
            told = f"request {number} of seed {SEED}: {method} {path} {content[:300]!r}: {response.text[:300]}"
            assert response.status_code in {200, *REFUSALS}, told
            if response.status_code != 200:
                assert list(response.json()) == ["error", "error_type"], told
            statuses.add(response.status_code)
    finally:
        is_over.set()
        bystander.join()
    assert statuses >= {200, 400, 422}
    assert len(others) > 5
    for answer in others:
        assert [one["label"] for one in answer] == [one["label"] for one in expected]
        assert [one["score"] for one in answer] == pytest.approx([one["score"] for one in expected], abs=1e-5)
    assert "a request could not be computed" not in caplog.text
    assert served.metric("unmask_queue_requests") == 0


def random_request(rng: random.Random) -> tuple[str, str, dict[str, str], bytes]:
    """A request that was right, with something changed, mostly."""
    path, body = rng.choice(BODIES)
    body = copy.deepcopy(body)
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        body = changed(rng, body)
    content = json.dumps(body, ensure_ascii=True).encode()
    if rng.random() < 0.2:
        content = garbled(rng, content)
    headers = {"Content-Type": "application/json"}
    if rng.random() < 0.05:
        headers = {"Content-Type": rng.choice(["text/plain", "", "application/json;;", "a" * 2000])}
    method = "POST" if rng.random() < 0.96 else rng.choice(["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
    path = path if rng.random() < 0.96 else rng.choice(["/", "/..", "//predict", "/predict?x=1", "/%00", "/a" * 200])
    return method, path, headers, content


def changed(rng: random.Random, value: Any) -> Any:
    """Put something strange anywhere into a value."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        kind = rng.random()
        if kind < 0.1:
            return {other: one for other, one in value.items() if other != key}
        if kind < 0.2:
            return value | {
                rng.choice(["x", "", "inputs ", "Inputs", "model", "truncate", "é" * 99]): rng.choice(STRANGE)
            }
        return value | {key: changed(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.6:
        place = rng.randrange(len(value))
        return [changed(rng, one) if number == place else one for number, one in enumerate(value)]
    return rng.choice(STRANGE)


def garbled(rng: random.Random, content: bytes) -> bytes:
    """Change bytes of a body, or its shape."""
    place = rng.randrange(len(content))
    return rng.choice(
        [
            content[:place],
            content[:place] + bytes([rng.randrange(256)]) + content[place + 1 :],
            content + content,
            rng.randbytes(rng.randrange(200)),
            b"[" * rng.randrange(20_000),
            b'{"inputs":' * rng.randrange(3000),
            b"\xef\xbb\xbf" + content,
            content.decode().encode("utf-16"),
            b" " * 50_001,
            content.replace(b'"', b"'"),
        ]
    )


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("path", sorted({path for path, _ in BODIES}))
def test_what_the_document_says_is_so(served: Served, path: str, mode: GenerationMode) -> None:
    """Requests made from the document, right and wrong ones: every answer is one that it promises."""
    url = str(served.client.base_url).rstrip("/")
    document = schemathesis.openapi.from_dict(served.client.get("/openapi.json").json())

    @given(document[path]["POST"].as_strategy(generation_mode=mode))
    @settings(
        max_examples=max(5, NUM_REQUESTS // 50), deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def ask(case: schemathesis.Case) -> None:
        response = case.call(base_url=url)
        case.validate_response(
            response,
            checks=[
                not_a_server_error,
                status_code_conformance,
                content_type_conformance,
                response_schema_conformance,
            ],
        )
        assert response.status_code not in (424, 429)
        assert mode is GenerationMode.POSITIVE or response.status_code != 200

    ask()
