"""Servers that do not play fair: every request is counted, ends in time, and takes no more memory than agreed."""

from __future__ import annotations

import gzip
import math
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from fixtures.remote import load as load_module
from fixtures.remote.endpoint import Endpoint, EndpointError, read_endpoint
from fixtures.remote.load import Load, run_load
from fixtures.remote.payloads import AnswerError, Usage, usage_in
from tests.conftest import Run, Saved, no_traceback
from tests.serving import CHAT, Write, send, serving

OK = b"HTTP/1.1 200 OK\r\n"
Speak = Callable[[Callable[[bytes], None], threading.Event], None]


@contextmanager
def speaking(speak: Speak) -> Iterator[str]:
    """A server that reads a request's first bytes and then says whatever it likes, until it is told that it is over."""
    over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(peer: socket.socket) -> None:
        with peer:
            try:
                peer.recv(65536)
                speak(peer.sendall, over)
                peer.shutdown(socket.SHUT_WR)
                while peer.recv(65536):  # what is not read turns the end into a reset
                    pass
            except OSError:
                pass  # the client went

    def accept() -> None:
        while not over.is_set():
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(peer,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        listener.close()


def load_of(url: str, **fields: Any) -> Load:
    """Requests of kind `json`, without retries and warm-up."""
    given = {"kind": "json", "body": {"i": "$IMAGE"}, "requests": 2, "warmup": 0, "retries": 0, "timeout_s": 0.15}
    return run_load(Endpoint("e", url, **{**given, **fields}), {"Authorization": "Bearer k"}, [b"{}"], lambda *_: None)


def accounted(load: Load, requests: int) -> bool:
    return len(load.latencies_s) + load.failed == requests


def dripping(head: bytes, part: bytes) -> Speak:
    """One part each 20 ms, for ever: no single read is ever late."""

    def speak(say: Callable[[bytes], None], over: threading.Event) -> None:
        say(head)
        while not over.wait(0.02):
            say(part)

    return speak


def endless(head: bytes, part: bytes) -> Speak:
    def speak(say: Callable[[bytes], None], over: threading.Event) -> None:
        say(head)
        while not over.is_set():
            say(part)

    return speak


@pytest.mark.parametrize(
    "speak",
    [
        pytest.param(dripping(OK + b"content-length: 1000000\r\n\r\n", b" "), id="body"),
        pytest.param(dripping(OK, b"x"), id="headers"),
        pytest.param(dripping(OK + b"transfer-encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n"), id="trailers"),
        pytest.param(dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), id="continue"),
        pytest.param(dripping(OK + b"content-encoding: gzip\r\n\r\n", b""), id="nothing after the headers"),
    ],
)
def test_a_deadline_is_of_the_whole_request(speak: Speak) -> None:
    with speaking(speak) as url:
        load = load_of(url, concurrency=2)
    assert (load.errors, load.failed) == (Counter({"timeout": 2}), 2)


EMPTY = gzip.compress(b"{}", mtime=0)
BOMB = gzip.compress(bytes(2_000_000), mtime=0)


@pytest.mark.parametrize(
    "speak",
    [
        pytest.param(
            endless(OK + b"transfer-encoding: chunked\r\n\r\n", b"10000\r\n" + bytes(65536) + b"\r\n"), id="endless"
        ),
        pytest.param(
            lambda say, over: say(
                OK + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(BOMB) + BOMB,
            ),
            id="gzip",
        ),
        pytest.param(
            endless(OK + b"content-encoding: gzip\r\n\r\n" + EMPTY, bytes(65536)),
            id="after the gzip",
        ),
    ],
)
def test_an_answer_has_a_largest_size_after_decoding(speak: Speak) -> None:
    with speaking(speak) as url:
        load = load_of(url, max_answer_bytes=1_000_000, timeout_s=5.0)
    assert (load.errors, load.failed) == (Counter({"too large": 2}), 2)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (OK + b"content-length: 2\r\ncontent-encoding: br\r\n\r\n{}", "undecodable"),
        (OK + b"content-length: 2\r\ncontent-encoding: gzip\r\n\r\n{}", "undecodable"),
        (
            OK + b"content-length: 9\r\ncontent-encoding: gzip\r\n\r\n" + EMPTY[:9],
            "undecodable",
        ),
        (OK + b"content-length: 9\r\n\r\n{}", "truncated"),
        (OK + b"content-length: many\r\n\r\n{}", "truncated"),
        (b"SMTP ready\r\n", "truncated"),
        (b"", "truncated"),
        (OK + b"x: " + b"y" * 200_000, "truncated"),
        (b"HTTP/1.1 302 Found\r\nlocation: file:///etc/passwd\r\ncontent-length: 0\r\n\r\n", "http 302"),
        (OK + b"content-length: 1\r\n\r\n\xff", "not JSON"),
    ],
)
def test_nonsense_is_an_error_of_its_kind(said: bytes, kind: str) -> None:
    with speaking(lambda say, over: say(said)) as url:
        load = load_of(url, requests=1, timeout_s=5.0)
    assert (load.errors, load.failed) == (Counter({kind: 1}), 1)


def test_what_speaks_no_tls_is_no_connection() -> None:
    with speaking(lambda say, over: say(OK + b"\r\n")) as url:
        load = load_of(url.replace("http:", "https:"), requests=1, retries=1, timeout_s=5.0)
    assert (load.errors, load.retries, load.failed) == (Counter({"connection": 2}), 1, 1)


def test_a_late_answer_is_nobody_elses() -> None:
    """The connection of a request that was given up is not used again: what comes there later is not read."""
    late = threading.Event()

    def answer(handler: Any, number: int) -> None:
        if number == 0:
            late.wait(5.0)
        else:
            late.set()
        send(handler, 200, b"late" if number == 0 else b"{}")

    with serving(answer) as seen:
        load = load_of(seen.url, requests=3)
    assert (load.errors, len(load.latencies_s)) == (Counter({"timeout": 1}), 2)


def test_a_key_follows_no_redirect_and_no_cookie_is_kept() -> None:
    with serving(lambda handler, number: send(handler, 200)) as other:

        def answer(handler: Any, number: int) -> None:
            send(handler, 307 if number == 0 else 200, location=other.url, set_cookie=f"c{number}=1; Path=/")

        with serving(answer) as seen:
            load = load_of(seen.url, requests=3, timeout_s=5.0)
    assert (load.errors, other.paths) == (Counter({"http 307": 1}), [])
    assert not any("cookie" in headers for headers in seen.headers)


DEEP = b"[" * 200_000 + b"]" * 200_000


@pytest.mark.parametrize("kind", ["openai", "kserve", "json"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (DEEP, "nested too deeply"),
        (b'{"choices": [{"message": {"content": "x"}}], "outputs": [1], "more": ' + DEEP + b"}", "nested too deeply"),
        (b'{"choices": [{"message": {"content": "x"}}], "outputs": [NaN], "more": NaN}', "not JSON"),
        (b'{"choices": [{"message": {"content": "\xff"}}], "outputs": [1]}', "not JSON"),
        (b'{"a": Infinity}', "not JSON"),
        (b"", "not JSON"),
    ],
)
def test_what_is_no_answer(kind: Any, content: bytes, message: str) -> None:
    with pytest.raises(AnswerError, match=message):
        usage_in(Endpoint("e", "http://h", kind=kind), content)


@pytest.mark.parametrize("told", ["-1", "1.5", "true", '"7"', "[]", "9" * 400, "1e400", "{}"])
def test_a_number_of_tokens_is_a_number_of_tokens(told: str) -> None:
    content = '{"choices": [{"message": {"content": null}}], "usage": {"prompt_tokens": ' + told + "}}"
    assert usage_in(Endpoint("e", "http://h"), content.encode()) == Usage()


def test_the_last_of_equal_keys_counts_and_a_byte_order_mark_is_read_over() -> None:
    usage = '"usage": {"prompt_tokens": 1, "prompt_tokens": 2}'
    content = '\ufeff{"choices": [], "choices": [{"message": {"content": 1}}], ' + usage + "}"
    assert usage_in(Endpoint("e", "http://h"), content.encode()) == Usage(2, None)


def test_a_worker_that_dies_is_an_error_and_not_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's own failure in one request is counted there; one beyond every request as lost."""
    calls = iter(range(100))

    def usage(*_: object) -> Usage:
        if next(calls) < 2:
            raise RecursionError
        return Usage()

    monkeypatch.setattr(load_module, "usage_in", usage)
    with serving(lambda handler, number: send(handler, 200)) as seen:
        load = load_of(seen.url, requests=6, concurrency=2, timeout_s=5.0)
    assert (load.errors, load.failed, len(load.latencies_s)) == (Counter({"client RecursionError": 2}), 2, 4)

    def advance(now: int, _: int) -> None:
        if now == 3:
            raise RuntimeError

    with serving(lambda handler, number: send(handler, 200)) as seen:
        endpoint = Endpoint("e", seen.url, kind="json", requests=6, warmup=0)
        load = run_load(endpoint, {}, [b"{}"], advance)
    assert (load.errors, load.failed, len(load.latencies_s)) == (Counter({"lost by the client": 4}), 4, 2)


def test_of_an_unfair_server_each_request_is_in_the_record(run: Run, saved: Saved, remote: Write) -> None:
    answers = {0: CHAT, 4: b"[" * 100_000, 5: b'{"choices": NaN}', 6: b"{}"}

    def answer(handler: Any, number: int) -> None:
        send(handler, 200, answers.get(number, CHAT))

    with serving(answer) as seen:
        remote(seen.url, requests=8, warmup=0, concurrency=1)
        result = run("--endpoint=remote.toml", "--benchmark-json=out.json", "-k", "endpoint")
    result.assert_outcomes(passed=1)
    no_traceback(result)
    info = saved()["test_request[remote-c1-224]"]["extra_info"]
    assert info["remote_errors"] == {"nested too deeply": 1, "no answer in it": 1, "not JSON": 1}
    assert info["remote_requests"] == info["iters"] + sum(info["remote_errors"].values())
    assert math.isclose(info["remote_error_rate"], 3 / 8)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('a = ["$IMAGE", nan]', "what JSON has no word for"),
        ('a = "$IMAGE"\nb = 2026-01-01', "what JSON has no word for"),
    ],
)
def test_a_body_that_json_cannot_hold_is_said_before_anything_runs(tmp_path: Any, line: str, message: str) -> None:
    (tmp_path / "e.toml").write_text(f'url = "http://h"\nkind = "json"\n[body]\n{line}\n')
    with pytest.raises(EndpointError, match=message):
        read_endpoint("e.toml", tmp_path)
