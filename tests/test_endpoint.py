"""A remote model on a real local server: planted latencies and errors, what is sent, and files that are refused."""

from __future__ import annotations

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixtures.remote.endpoint import CallPrice, Endpoint
from fixtures.remote.load import Load, attempt, run_load
from fixtures.remote.payloads import AnswerError, Usage, body_of, usage_in
from fixtures.remote.recording import mean_price
from tests.conftest import Run, Saved, no_traceback
from tests.serving import CHAT, Seen, Write, send, serving
from tools.endpoint import served


def load_of(endpoint: Endpoint) -> Load:
    return run_load(endpoint, {}, [b"{}"], lambda *_: None)


class Planted:
    """A connection on a fake clock, each of whose answers takes as long as planted."""

    def __init__(self, delays_s: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.delays = 0.0, iter(delays_s)
        monkeypatch.setattr("fixtures.remote.load.time.perf_counter", lambda: self.now)

    def ask(self, body: bytes) -> bytes:
        self.now += next(self.delays)
        return CHAT


def test_a_latency_is_the_request_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    delays_s = [(10 + (index * 37) % 100) / 1e3 for index in range(100)]
    connection = Planted(delays_s, monkeypatch)
    seen_s = [attempt(connection, Endpoint("e", "http://h"), b"{}")[0] for _ in delays_s]
    assert seen_s == pytest.approx(delays_s)


def test_what_a_real_server_takes_is_in_every_latency() -> None:
    """How close they are is no matter for a test: `python -m tools.endpoint` says so on a quiet machine."""
    seen_s, taken_s = served([0.01, 0.03, 0.02], concurrency=1)
    assert [seen > taken for seen, taken in zip(seen_s, taken_s, strict=True)] == [True] * 3


def test_errors_are_counted_exactly_by_kind_and_retried_where_that_helps() -> None:
    """Of 8 requests the 1st attempts fail in every way there is; 400 and nonsense are not tried again."""
    hang = threading.Event()

    def answer(handler: BaseHTTPRequestHandler, number: int) -> None:
        if number == 0:
            send(handler, 429, retry_after="0")
        elif number == 2:
            send(handler, 500)
        elif number == 4:
            send(handler, 200, b'{"choices": [', length=500)
        elif number == 6:
            hang.wait(1.0)
        elif number == 8:
            send(handler, 400)
        elif number == 9:
            send(handler, 200, b"<html>")
        elif number == 10:
            send(handler, 200, b"{}")
        else:
            send(handler, 200, CHAT)

    with serving(answer) as seen:
        load = load_of(Endpoint("e", seen.url, requests=8, warmup=0, retries=1, timeout_s=0.3))
        hang.set()
    assert dict(load.errors) == {
        "http 429": 1,
        "http 500": 1,
        "truncated": 1,
        "timeout": 1,
        "http 400": 1,
        "not JSON": 1,
        "no answer in it": 1,
    }
    assert (load.retries, load.failed, len(load.latencies_s)) == (4, 3, 5)


def test_retries_end_and_the_request_counts_as_failed() -> None:
    with serving(lambda handler, number: send(handler, 503)) as seen:
        load = load_of(Endpoint("e", seen.url, requests=2, warmup=0, retries=2))
    assert (load.errors["http 503"], load.retries, load.failed) == (6, 4, 2)


def test_so_many_requests_at_once() -> None:
    now, most, lock = [0], [0], threading.Lock()

    def answer(handler: BaseHTTPRequestHandler, number: int) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.02)
        with lock:
            now[0] -= 1
        send(handler, 200, CHAT)

    with serving(answer) as seen:
        load_of(Endpoint("e", seen.url, requests=12, warmup=0, concurrency=4))
    assert most[0] == 4


IMAGE = np.full((20, 30, 3), 128, np.uint8)


def test_a_chat_request_holds_the_image_as_jpeg() -> None:
    sent = json.loads(body_of(Endpoint("e", "http://h", model="m", imgsz=16, prompt="What?"), IMAGE))
    assert (sent["model"], sent["max_tokens"]) == ("m", 32)
    text, image = sent["messages"][0]["content"]
    assert text["text"] == "What?"
    head, _, encoded = image["image_url"]["url"].partition(",")
    assert head == "data:image/jpeg;base64"
    assert base64.b64decode(encoded).startswith(b"\xff\xd8")


def test_a_kserve_request_holds_the_pixels() -> None:
    (tensor,) = json.loads(body_of(Endpoint("e", "http://h", kind="kserve", imgsz=4, input_name="x"), IMAGE))["inputs"]
    assert (tensor["name"], tensor["shape"], tensor["datatype"]) == ("x", [1, 3, 4, 4], "FP32")
    assert set(tensor["data"]) == {round(128 / 255, 4)}
    assert len(tensor["data"]) == 48


def test_a_body_of_ones_own_gets_the_image_wherever_it_asks_for_it() -> None:
    endpoint = Endpoint("e", "http://h", kind="json", imgsz=4, body={"a": [{"b": "$IMAGE"}], "n": 3})
    sent = json.loads(body_of(endpoint, IMAGE))
    assert base64.b64decode(sent["a"][0]["b"]).startswith(b"\xff\xd8")
    assert sent["n"] == 3


def test_tokens_are_read_and_paid() -> None:
    endpoint = Endpoint("e", "http://h", price=CallPrice(0.001, 2.0, 10.0, "EUR"))
    assert usage_in(endpoint, CHAT) == Usage(100, 7)
    assert mean_price(endpoint, Load(usage=[Usage(100, 7), Usage(300, 9)])) == pytest.approx(
        0.001 + (200 * 2.0 + 8 * 10.0) / 1e6
    )
    assert mean_price(Endpoint("e", "http://h"), Load(usage=[Usage(1, 1)])) is None


def test_an_answer_without_outputs_is_none() -> None:
    with pytest.raises(AnswerError, match="no answer"):
        usage_in(Endpoint("e", "http://h", kind="kserve"), b'{"outputs": []}')
    assert usage_in(Endpoint("e", "http://h", kind="json"), b"[]") == Usage(None, None)


ENDPOINT = ("--endpoint=remote.toml",)


def test_it_is_one_more_case_beside_the_local_ones(
    run: Run, saved: Saved, remote: Write, monkeypatch: pytest.MonkeyPatch, project: pytest.Pytester
) -> None:
    monkeypatch.setenv("REMOTE_KEY", "very-secret")

    def answer(handler: BaseHTTPRequestHandler, number: int) -> None:
        send(handler, 500) if number == 10 else send(handler, 200, CHAT)

    with serving(answer) as seen:
        remote(f"{seen.url}/v1/chat?version=3", key_env="REMOTE_KEY", concurrency=2, model="m")
        result = run(
            "--endpoint=remote.toml", "--benchmark-json=out.json", "-k", "endpoint or net", "--model=tiny.py:net"
        )
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["remote *request *images*", "*remote_errors*http 500=1*"])
    info = saved()["test_request[remote-c2-224]"]["extra_info"]
    assert (info["remote_requests"], info["iters"], info["remote_errors"]) == (20, 20, {"http 500": 1})
    assert (info["remote_retries"], info["remote_error_rate"], info["remote_concurrency"]) == (1, 0, 2)
    assert info["cost_per_1000"] == pytest.approx(2.0)
    assert (info["device"], info["family"], info["params"]) == ("remote", "remote", None)
    assert info["device_name"] == seen.url.partition("//")[2]
    assert info["inputs_digest"] == saved()["test_forward[net-fp32-b1-224]"]["extra_info"]["inputs_digest"]
    assert all(headers["authorization"] == "Bearer very-secret" for headers in seen.headers)
    assert len(set(seen.bodies)) == 4
    written = [path.read_bytes() for path in project.path.rglob("*") if path.is_file() and path.name != "remote.toml"]
    assert not any(b"very-secret" in content for content in written)
    assert "very-secret" not in result.stdout.str()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            lambda handler, number: send(handler, 401),
            "*remote at 127.0.0.1:* answered none of 20 requests (http 401 20)*",
        ),
        (lambda handler, number: time.sleep(0.5), "*remote at 127.0.0.1:* did not answer within 0.1 s*"),
    ],
)
def test_an_endpoint_that_does_not_answer_fails_its_case(run: Run, remote: Write, answer: Any, message: str) -> None:
    with serving(answer) as seen:
        remote(seen.url, timeout_s=0.1)
        result = run(*ENDPOINT, "-k", "endpoint")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([message])
    no_traceback(result)


def test_a_host_that_is_not_there_fails_its_case(run: Run, remote: Write) -> None:
    with serving(lambda handler, number: None) as seen:
        pass
    remote(seen.url)
    result = run(*ENDPOINT, "-k", "endpoint")
    result.stdout.fnmatch_lines(["*remote at 127.0.0.1:* cannot be reached*"])
    assert result.ret == 1
    no_traceback(result)


def test_a_missing_key_is_said_before_anything_runs(run: Run, remote: Write) -> None:
    remote("http://127.0.0.1:9", key_env="NOT_SET_ANYWHERE")
    result = run(*ENDPOINT)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*remote needs its key in the environment variable NOT_SET_ANYWHERE*"])


def test_tokens_that_are_priced_but_not_told_have_no_price() -> None:
    silent = Load(usage=[Usage(None, None)])
    assert mean_price(Endpoint("e", "http://h", price=CallPrice(0.001, 2.0)), silent) is None
    assert mean_price(Endpoint("e", "http://h", price=CallPrice(0.001)), silent) == 0.001
    told = b'{"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": null}}'
    assert usage_in(Endpoint("e", "http://h"), told) == Usage(None, None)


def test_the_helper_counts(tmp_path: Path) -> None:
    seen: Seen
    with serving(lambda handler, number: send(handler, 200)) as seen:
        load_of(Endpoint("e", seen.url, requests=3, warmup=2, kind="json", body={"i": "$IMAGE"}))
    assert len(seen.paths) == 5


def test_every_connection_is_warmed_up() -> None:
    assert Endpoint("e", "http://h", concurrency=8, warmup=3).warmup_requests == 8
    assert Endpoint("e", "http://h", concurrency=8, warmup=0).warmup_requests == 0
    with serving(lambda handler, number: send(handler, 200)) as seen:
        load_of(Endpoint("e", seen.url, requests=4, warmup=1, concurrency=3, kind="json", body={"i": "$IMAGE"}))
    assert len(seen.paths) == 3 + 4
