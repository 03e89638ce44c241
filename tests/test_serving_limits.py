"""What a server does not let in: too much, too slow, broken, without the key; and clients that go.

Run: pytest tests/test_serving_limits.py
"""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from served import error_of, serving, wait_until
from tiny_families import save_tiny
from unmask.errors import SettingsError
from unmask.pipelines import open_model
from unmask.ragged import Ragged
from unmask.serving import ServeSettings
from unmask.serving.errors import Refusal
from unmask.serving.reading import read_json
from unmask.serving.routes import answers, tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from served import Served
    from unmask.pipelines import OpenModel


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> OpenModel:
    return open_model(save_tiny(tmp_path_factory.mktemp("m") / "bert", "bert", "sequence-classification"), device="cpu")


@pytest.fixture
def slow(model: OpenModel, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The model computes when the event is set, and fails on the id of "tiger"."""
    may_run, run = threading.Event(), model.runtime.run
    bad = model.tokenizer.token_to_id("tiger")

    def waiting(input_ids: Ragged, *others: Any) -> Ragged:
        assert may_run.wait(20)
        if bad in input_ids.values:
            raise RuntimeError("not a tiger")
        return run(input_ids, *others)

    monkeypatch.setattr(model.runtime, "run", waiting)
    yield may_run
    may_run.set()


@pytest.fixture(scope="module")
def served(model: OpenModel) -> Iterator[Served]:
    with serving({"bert": model}, max_body_bytes=1000, body_seconds=0.3) as running:
        yield running


def test_a_body_that_is_too_long(served: Served) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(50):
            yield b" " * 100

    for content in (b" " * 1001, chunks()):
        status, kind, message = error_of(served.send(content))
        assert (status, kind) == (413, "Validation")
        assert "longer than 1,000 bytes" in message
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n"
    with served.connect() as connection:  # it is refused by its head alone
        connection.sendall(head)
        assert b" 413 " in connection.recv(4096)


def test_a_body_in_chunks(served: Served) -> None:
    whole = served.send(iter([b'{"inp', b'uts": "the', b' dog"}']))
    assert whole.json() == served.ask("/predict", {"inputs": "the dog"}).json()


def test_a_slow_body_is_given_up_and_holds_up_nobody(served: Served) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 30\r\n\r\n"
    with served.connect() as connection:
        connection.sendall(head + b'{"inputs": ')
        began = time.monotonic()
        assert served.ask("/predict", {"inputs": "a dog"}).status_code == 200
        answer = connection.recv(4096)
        assert time.monotonic() - began < 10
        assert b" 408 " in answer
        assert b'"error_type":"Timeout"' in answer
        assert b"connection: close" in answer.lower()


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b'{"inputs": "the dog"', 400),
        (b'{"inputs": "\xff\xfe"}', 400),
        (b'{"inputs": "\\ud800"}', 400),
        (b"\xff" * 10, 400),
        (b"NaN", 422),
        (b'{"inputs": NaN}', 422),
        (b'{"inputs": Infinity}', 422),
        (b'{"inputs": 1e999}', 422),
        (b"[" * 900, 400),
        (b'{"inputs": ' + b"[" * 800, 400),
        (b"null", 422),
        (b'"inputs"', 422),
        (b'{"inputs": {"a": 1}}', 422),
        (b'{"inputs": null}', 422),
        (b'{"inputs": "a", "inputs": 5}', 422),
    ],
)
def test_what_is_no_json_or_not_of_the_schema(served: Served, content: bytes, status: int) -> None:
    answer = error_of(served.send(content))
    assert answer[:2] == (status, "Validation")
    assert len(answer[2]) < 300


def test_nesting_of_any_depth(model: OpenModel) -> None:
    with serving({"bert": model}) as served:
        for content in (b"[" * 100_000, b'{"inputs":' * 100_000, b"[" * 100_000 + b"]" * 100_000):
            assert error_of(served.send(content))[0] == 400


def test_only_what_is_said_to_be_json_is_read(served: Served) -> None:
    for given in ("text/plain", "application/x-www-form-urlencoded", ""):
        response = served.client.post("/predict", content=b'{"inputs": "a"}', headers={"Content-Type": given})
        assert error_of(response)[:2] == (415, "Validation")
    assert served.send(b'{"inputs": "a"}', **{"Content-Type": "Application/JSON; charset=utf-8"}).status_code == 200
    for headers in ({"Content-Type": "application/json; charset=utf-16"}, {"Content-Encoding": "gzip"}):
        assert error_of(served.send(b'{"inputs": "a"}', **headers))[:2] == (415, "Validation")


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/tokenize", b'{"inputs":[' + b"1," * 400_000 + b"1]}"),
        ("/decode", b'{"ids":[' + b'"",' * 300_000 + b"1]}"),
        ("/decode", b'{"ids":[' + b"-1," * 300_000 + b"1]}"),
        ("/answer", b'{"inputs":[' + b"{}," * 300_000 + b"{}]}"),
        ("/predict", b'{"inputs":[' + b"[1]," * 200_000 + b"[1]]}"),
        ("/tag", b"{" + b",".join(b'"%x":0' % number for number in range(100_000)) + b"}"),
    ],
)
def test_a_body_of_nothing_but_mistakes_is_refused_at_the_first(path: str, content: bytes) -> None:
    body_type = next(route.body_type for route in (*answers.router.routes, *tokens.router.routes) if route.path == path)
    began = time.process_time()
    with pytest.raises(Refusal) as refused:
        read_json(content, body_type)
    seconds = time.process_time() - began
    assert refused.value.status == 422
    assert len(refused.value.message) < 500
    began = time.process_time()
    json.loads(content)
    assert seconds < 20 * (time.process_time() - began)  # it takes thousands of times as long to write all down


def test_the_head_of_a_request_is_small_and_comes_in_time(served: Served) -> None:
    with served.connect() as large, pytest.raises(OSError):  # noqa: PT012 - whichever piece is refused
        large.sendall(b"GET /health HTTP/1.1\r\n")
        for _ in range(1000):
            large.sendall(b"X-Long: " + b"x" * 10_000 + b"\r\n")
    with served.connect() as idle, served.connect() as slow_head:
        slow_head.sendall(b"GET /hea")
        for connection in (idle, slow_head):
            assert connection.recv(100) == b""  # closed
    assert served.client.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /health HTTP/1.1\r\nX: " + b"x" * 65_536 + b"\r\nY: " + b"y" * 65_536 + b"\r\nZ: z\r\n\r\n", 431),
        (b"nonsense\r\n\r\n", 400),
        (b"POST /predict HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}", 400),
    ],
)
def test_what_is_no_request_is_told_so_in_json(served: Served, sent: bytes, status: int) -> None:
    with served.connect() as connection:
        for first in range(0, len(sent), 40_000):
            connection.sendall(sent[first : first + 40_000])
            time.sleep(0.02)
        head, _, body = b"".join(iter(lambda: connection.recv(4096), b"")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"content-length: %d" % len(body) in head
    assert json.loads(body)["error_type"] == "Validation"


def test_a_model_that_gives_no_numbers(model: OpenModel, monkeypatch: pytest.MonkeyPatch) -> None:
    run, bad = model.runtime.run, model.tokenizer.token_to_id("tiger")

    def broken(input_ids: Ragged, *others: Any) -> Ragged:
        outputs = run(input_ids, *others)
        values = np.where((bad == input_ids.values).any(), np.nan, outputs.values)
        return Ragged(values.astype(np.float32), outputs.offsets)

    monkeypatch.setattr(model.runtime, "run", broken)
    with serving({"bert": model}) as served:
        assert error_of(served.ask("/predict", {"inputs": "the tiger"}))[:2] == (424, "Backend")
        assert served.ask("/predict", {"inputs": "the cat"}).status_code == 200


def test_health_and_info_may_be_asked_for_their_heads(served: Served) -> None:
    assert [served.client.head(path).status_code for path in ("/health", "/info")] == [200, 200]


def test_routes_and_methods_there_are_not(served: Served) -> None:
    assert error_of(served.client.get("/nothing"))[:2] == (404, "NotFound")
    assert error_of(served.ask("/predict/", {"inputs": "a"}))[:2] == (404, "NotFound")
    assert error_of(served.ask("/../../etc/passwd", {}))[:2] == (404, "NotFound")
    response = served.client.get("/predict")
    assert error_of(response)[:2] == (405, "MethodNotAllowed")
    assert response.headers["allow"] == "POST"
    assert error_of(served.client.post("/health"))[:2] == (405, "MethodNotAllowed")


def test_the_key(model: OpenModel) -> None:
    with serving({"bert": model}, api_key="secret") as served:
        assert served.ask("/predict", {"inputs": "a dog"}).status_code == 200
        for given in ("", "Bearer wrong", "secret", "Bearer", "Basic secret"):
            for path in ("/predict", "/info", "/metrics", "/", "/nothing"):
                response = served.client.get(path, headers={"Authorization": given})
                assert error_of(response)[:2] == (401, "Unauthorized")
                assert response.headers["www-authenticate"] == "Bearer"
        for path in ("/health", "/docs", "/openapi.json"):
            assert served.client.get(path, headers={"Authorization": ""}).status_code == 200
        assert served.client.get("/info", headers={"Authorization": "bearer  secret"}).status_code == 200
        document = served.client.get("/openapi.json").json()
        assert document["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
        assert document["paths"]["/predict"]["post"]["security"] == [{"HTTPBearer": []}]
        assert "security" not in document["paths"]["/health"]["get"]


def test_no_page_of_another_origin_may_ask_unless_told(model: OpenModel) -> None:
    origin = {"Origin": "https://example.org"}
    preflight = origin | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    with serving({"bert": model}) as served:
        assert error_of(served.client.options("/predict", headers=preflight))[0] == 405
        response = served.client.get("/health", headers=origin)
        assert "access-control-allow-origin" not in response.headers
    with serving({"bert": model}, cors_origins=("https://example.org",), api_key="key") as served:
        assert served.client.options("/predict", headers=preflight).status_code == 200
        allowed = served.ask("/predict", {"inputs": "a"}, headers=origin).headers
        assert allowed["access-control-allow-origin"] == "https://example.org"
        other = served.ask("/predict", {"inputs": "a"}, headers={"Origin": "https://example.com"}).headers
        assert "access-control-allow-origin" not in other


def test_overload_is_told_at_once(model: OpenModel, slow: threading.Event) -> None:
    with serving({"bert": model}, max_queue_requests=3) as served, ThreadPoolExecutor(3) as clients:
        accepted = [clients.submit(served.ask, "/predict", {"inputs": "the dog"}) for _ in range(3)]
        wait_until(lambda: served.metric("unmask_queue_requests") == 3)
        began = time.monotonic()
        for _ in range(20):
            response = served.ask("/predict", {"inputs": "the cat"})
            assert error_of(response)[:2] == (429, "Overloaded")
            assert int(response.headers["retry-after"]) >= 1
        assert time.monotonic() - began < 5
        assert served.metric("unmask_refused_total") == 20
        slow.set()
        assert [one.result().status_code for one in accepted] == [200] * 3
        assert served.ask("/predict", {"inputs": "the cat"}).status_code == 200


def test_the_deadline(model: OpenModel, slow: threading.Event) -> None:
    with serving({"bert": model}, deadline_seconds=0.1) as served:
        assert error_of(served.ask("/predict", {"inputs": "the dog"}))[:2] == (504, "Timeout")
        slow.set()
        assert served.metric("unmask_queue_requests") == 0


def test_a_client_that_goes_in_the_middle_of_a_batch(model: OpenModel, slow: threading.Event) -> None:
    content = json.dumps({"inputs": "the dog"}).encode()
    head = (
        f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    with serving({"bert": model}) as served, ThreadPoolExecutor(4) as clients:
        going = [served.connect() for _ in range(3)]
        for connection in going:
            connection.sendall(head.encode() + content)
        staying = [clients.submit(served.ask, "/predict", {"inputs": "the cat"}) for _ in range(4)]
        wait_until(lambda: served.metric("unmask_queue_requests") == 7)
        for connection in going:
            connection.close()
        wait_until(lambda: served.metric("unmask_queue_requests") == 4)
        slow.set()
        assert [one.result().status_code for one in staying] == [200] * 4
        wait_until(lambda: served.metric('unmask_requests_total{route="/predict",status="499"}') == 3)


def test_a_text_that_cannot_be_computed_fails_alone(
    model: OpenModel, slow: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    texts = [f"the {'tiger' if number == 5 else 'dog'} sleeps" for number in range(12)]
    with serving({"bert": model}) as served, ThreadPoolExecutor(12) as clients:
        answers = [clients.submit(served.ask, "/predict", {"inputs": text}) for text in texts]
        wait_until(lambda: served.metric("unmask_queue_requests") == 12)
        slow.set()
        statuses = [one.result().status_code for one in answers]
        assert statuses == [424 if number == 5 else 200 for number in range(12)]
        _, kind, message = error_of(answers[5].result())
        assert kind == "Backend"
        assert "tiger" not in message  # our insides go to the log
    assert "not a tiger" in caplog.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"port": -1}, "port is -1: it must be 0 or more"),
        ({"port": 65536}, "it must be 65535 or less"),
        ({"max_texts": 0}, "max_texts is 0: it must be 1 or more"),
        ({"deadline_seconds": float("nan")}, "deadline_seconds is nan"),
        ({"workers": 0}, "workers is 0"),
        ({"api_key": ""}, "the API key must be"),
        ({"api_key": "schlüssel"}, "the API key must be"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        ServeSettings(**settings)
