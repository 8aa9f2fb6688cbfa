"""Files that describe an endpoint: what is refused, and that no key is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.remote.endpoint import Endpoint, EndpointError, read_endpoint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "missing required field `url`"),
        ("url = ", "is not TOML"),
        ('url = "ftp://h"', "url must start with http"),
        ('url = "https://"', "url must start with http"),
        ('url = "https://h"\nkind = "grpc"', "Invalid enum value 'grpc'"),
        ('url = "https://h"\nrequest = 3', "unknown field `request`"),
        ('url = "https://h"\nrequests = "many"', r"Expected `int`, got `str` - at `\$.requests`"),
        ('url = "https://h"\nconcurrency = 0', "concurrency must be at least 1, got 0"),
        ('url = "https://h"\ntimeout_s = 0', "timeout_s must be a positive number"),
        ('url = "https://h"\nname = "a/b"', "name must be letters"),
        ('url = "https://h"\nkind = "json"', r"needs a \[body\]"),
        ('url = "https://h"\n[price]\nper_call = -1', "a price must be a number of 0 or more"),
        ('url = "https://h"\napi_key = "abc"', r"holds a key in plain text \(api_key\)"),
        ('url = "https://h"\nkind = "json"\n[body]\ni = "$IMAGE"\nauth = "Bearer abc"', r"plain text \(body.auth\)"),
        ('url = "https://h"\nprompt = "sk-abcdef"', r"plain text \(prompt\)"),
        ('url = "https://user:pass@h"', "url holds a key or a password"),
        ('url = "https://h?key=abc"', "url holds a key or a password"),
        ('url = "https://h?version=1&api_key=abc"', "url holds a key or a password"),
        ('url = "http://[bad"', "url must start with http"),
        ('url = "http://h:99999"', "url must start with http"),
        ('url = "https://h"\nkey_env = "hf_abcdef"', "plain text .key_env"),
        ('url = "https://h"\nkey_env = "not a name"', "key_env must be the name"),
        ('url = "https://h"\nkey_prefix = "Bearer sk-abc"', "plain text .key_prefix"),
        ('url = "https://h"\nkind = "json"\n[body]\na = ["$IMAGE", "sk-abc"]', "plain text .body.a"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "e.toml").write_text(content)
    with pytest.raises(EndpointError, match=message):
        read_endpoint("e.toml", tmp_path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EndpointError, match="cannot be read"):
        read_endpoint("e.toml", tmp_path)


@pytest.mark.parametrize("key", ["secret\r", "se cret", "gehe\u00efm"])
def test_a_key_that_no_header_takes_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("REMOTE_KEY", key)
    with pytest.raises(EndpointError) as refused:
        Endpoint("e", "http://h", key_env="REMOTE_KEY").headers()
    assert key.strip() not in str(refused.value)
