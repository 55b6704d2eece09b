"""Checkpoints on a server: what is fetched, what is sent, and every way a server can fail."""

import json
import logging
from collections.abc import Iterator

import pytest
import torch
from safetensors.torch import save
from stacks import CONFIG, deepseek_v4_tensors, write
from tensorfiles.range_server import Site, serve

import mhcdiag
from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles import http_client, open_checkpoint, remote_file
from mhcdiag.tensorfiles.containers import remote as remote_checkpoint

SECRET = "hf_verysecret"


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def address(site: Site, monkeypatch, tmp_path_factory) -> Iterator[str]:
    monkeypatch.setattr(http_client, "WAITS", (0.0, 0.0, 0.0))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HF_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path_factory.mktemp("huggingface")))  # without the login of who runs this
    with serve(site) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        yield url


def sharded(tensors: dict[str, torch.Tensor]) -> dict[str, bytes]:
    """Two shards, their index and a configuration, by file name."""
    names = list(tensors)
    shards = {f"model-{i + 1:05}-of-00002.safetensors": names[i::2] for i in range(2)}
    files = {shard: save({name: tensors[name] for name in of_shard}) for shard, of_shard in shards.items()}
    weight_map = {name: shard for shard, of_shard in shards.items() for name in of_shard}
    files["model.safetensors.index.json"] = json.dumps({"weight_map": weight_map}).encode()
    files["config.json"] = json.dumps(CONFIG).encode()
    return files


@pytest.fixture
def plain(tmp_path):
    return mhcdiag.gain(write(tmp_path / "plain", deepseek_v4_tensors(), config=CONFIG))


def put(site: Site, files: dict[str, bytes]) -> None:
    site.files |= {f"/m/{name}": content for name, content in files.items()}


def test_a_hub_model_has_the_gain_of_its_files(site, address, plain):
    site.hub("some-one/v4.x", sharded(deepseek_v4_tensors()))
    result = mhcdiag.gain("hf://some-one/v4.x")
    assert result.gain == plain.gain
    assert result.path == "hf://some-one/v4.x"


def test_files_on_a_web_server(site, address, plain):
    put(site, sharded(deepseek_v4_tensors()) | {"whole.safetensors": save(deepseek_v4_tensors())})
    for name in ("model.safetensors.index.json", "whole.safetensors"):
        assert mhcdiag.gain(f"{address}/m/{name}").gain == plain.gain
    del site.files["/m/config.json"]
    assert mhcdiag.gain(f"{address}/m/whole.safetensors").assumed


def test_only_headers_and_wanted_tensors_are_fetched(site, address, monkeypatch):
    monkeypatch.setattr(remote_file, "HEAD", 1 << 12)
    large = {f"experts.{i}.weight": torch.zeros(400, 500) for i in range(20)}
    site.hub("a/b", sharded(large | deepseek_v4_tensors()))
    result = mhcdiag.gain("hf://a/b", inputs="static")
    assert result.bytes_total > 16_000_000
    fetched = sum(len(c) for p, c in site.files.items() if p.endswith(".json"))
    assert result.bytes_read < 60_000 + fetched
    assert all("Range" in headers for headers in site.sent(".safetensors"))


def test_tensors_close_together_are_one_request(site, address):
    site.hub("a/b", {"model.safetensors": save(deepseek_v4_tensors(width=4000)), "config.json": b"{}"})
    checkpoint = open_checkpoint("hf://a/b")
    before = len(site.requests)
    names = [name for name in checkpoint.tensors if name.endswith("_fn")]
    checkpoint.prefetch(names)
    assert len(site.requests) - before == 1
    for name in names:
        assert checkpoint.read(name).equal(deepseek_v4_tensors(width=4000)[name])
    assert len(site.requests) - before == 1
    assert checkpoint.read(names[0], rows=slice(2, 4)).equal(deepseek_v4_tensors(width=4000)[names[0]][2:4])


def test_a_large_download_is_announced_before_it_begins(site, address, monkeypatch, caplog):
    monkeypatch.setattr(remote_checkpoint, "LARGE", 200_000)
    site.hub("a/b", {"model.safetensors": save(deepseek_v4_tensors(width=4000)), "config.json": b"{}"})
    with caplog.at_level(logging.WARNING, logger="mhcdiag"):
        mhcdiag.gain("hf://a/b", inputs="static")
        assert not caplog.messages
        mhcdiag.gain("hf://a/b")
    assert len(caplog.messages) == 1
    assert "fetching 2 MB from hf://a/b, of 0.0 GB" in caplog.messages[0]


def test_a_header_longer_than_the_first_request(site, address, monkeypatch):
    monkeypatch.setattr(remote_file, "HEAD", 100)
    site.hub("a/b", {"model.safetensors": save(deepseek_v4_tensors()), "config.json": b"{}"})
    checkpoint = open_checkpoint("hf://a/b")
    assert len(checkpoint.tensors) == 18
    assert checkpoint.read("layers.1.hc_ffn_scale").equal(deepseek_v4_tensors()["layers.1.hc_ffn_scale"])


def test_all_files_are_of_the_commit_that_was_listed(site, address):
    site.hub("a/b", sharded(deepseek_v4_tensors()), commit="beef")
    site.files["/api/models/a/b/revision/v2"] = site.files.pop("/api/models/a/b/revision/main")
    assert len(open_checkpoint("hf://a/b@v2").tensors) == 18
    assert all("/resolve/beef/" in path for path, _ in site.requests if "/api/" not in path)


def test_the_token_goes_to_the_endpoint_and_nowhere_else(site, address, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    site.hub("a/b", sharded(deepseek_v4_tensors()))
    other = Site()
    with serve(other) as elsewhere:
        for path in [path for path in site.files if path.endswith(".safetensors")]:
            other.files[f"/cdn{path}"] = site.files[path]
            site.redirects[path] = f"{elsewhere}/cdn{path}?X-Signature=abc"
        mhcdiag.gain("hf://a/b", inputs="static")
        open_checkpoint(f"{elsewhere}/cdn/a/b/resolve/c0ffee/model-00001-of-00002.safetensors")
    assert all(headers.get("Authorization") == f"Bearer {SECRET}" for _, headers in site.requests)
    assert other.requests
    assert not any("Authorization" in headers for _, headers in other.requests)


def test_a_stored_login_is_used_where_the_environment_names_no_token(site, address, monkeypatch, tmp_path):
    (tmp_path / "token").write_text("hf_stored\n")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    site.hub("a/b", sharded(deepseek_v4_tensors()))
    open_checkpoint("hf://a/b")
    assert {headers.get("Authorization") for _, headers in site.requests} == {"Bearer hf_stored"}
    site.requests.clear()
    monkeypatch.setenv("HF_TOKEN", SECRET)
    open_checkpoint("hf://a/b")
    assert {headers.get("Authorization") for _, headers in site.requests} == {f"Bearer {SECRET}"}


def test_no_message_holds_a_token_password_or_signature(site, address, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    with pytest.raises(ContainerError) as hub:
        open_checkpoint("hf://a/b")
    web = address.replace("http://", "http://user:password@")
    with pytest.raises(ContainerError) as file:
        open_checkpoint(f"{web}/m.safetensors?X-Signature=abc")
    for error in (hub.value, file.value):
        assert not any(secret in str(error) for secret in (SECRET, "password", "Signature"))


@pytest.mark.parametrize(
    ("code", "found"),
    [
        (401, r"access refused \(401\); set HF_TOKEN"),
        (403, r"access refused \(403\); set HF_TOKEN .* or accept the model's terms"),
        (404, r"no such file or model \(404\)"),
        (418, "the server answers 418"),
        (503, "cannot be fetched: the server answers 503, 4 times"),
    ],
)
def test_refusals_are_said_in_words(site, address, code: int, found: str):
    site.status["/api/models/a/b/revision/main"] = [code]
    with pytest.raises(ContainerError, match=rf"hf://a/b@main: {found}"):
        open_checkpoint("hf://a/b")


def test_a_server_without_ranges_is_refused(site, address):
    site.with_ranges = False
    put(site, {"a.safetensors": save(deepseek_v4_tensors())})
    with pytest.raises(ContainerError, match=r"the server sends whole files only .*; expected HTTP range"):
        open_checkpoint(f"{address}/m/a.safetensors")


@pytest.mark.parametrize("times", [1, 3])
def test_an_answer_that_breaks_off_is_asked_for_again(site, address, plain, times: int):
    site.hub("a/b", sharded(deepseek_v4_tensors()))
    site.break_off = times
    assert mhcdiag.gain("hf://a/b").gain == plain.gain


def test_a_server_that_always_breaks_off_is_given_up(site, address):
    site.break_off = 1000
    put(site, {"a.safetensors": save(deepseek_v4_tensors()), "config.json": b"{}"})
    with pytest.raises(ContainerError, match=r"the connection breaks off \(IncompleteRead\), 4 times"):
        open_checkpoint(f"{address}/m/a.safetensors")


def test_a_server_that_recovers(site, address):
    site.hub("a/b", sharded(deepseek_v4_tensors()))
    site.status["/api/models/a/b/revision/main"] = [503, 429, 200]
    assert len(open_checkpoint("hf://a/b").tensors) == 18


def test_a_slow_server_is_given_up(site, address, monkeypatch):
    monkeypatch.setattr(http_client, "TIMEOUT", 0.05)
    site.delay = 0.5
    put(site, {"a.safetensors": save(deepseek_v4_tensors()), "config.json": b"{}"})
    with pytest.raises(ContainerError, match=r"no answer within 0\.05 s, 4 times"):
        open_checkpoint(f"{address}/m/a.safetensors")


def test_nobody_listens(address):
    with pytest.raises(ContainerError, match=r"cannot be fetched: .*refused.*, 4 times"):
        open_checkpoint("http://127.0.0.1:9/a.safetensors")


def test_a_file_that_changes_between_two_requests_is_refused(site, address, monkeypatch):
    monkeypatch.setattr(remote_file, "HEAD", 1 << 12)
    put(site, {"a.safetensors": save(deepseek_v4_tensors(width=4000)), "config.json": json.dumps(CONFIG).encode()})
    site.etags = ['"config"', '"1"', '"2"']
    checkpoint = open_checkpoint(f"{address}/m/a.safetensors")
    with pytest.raises(ContainerError, match="the file changed between two requests"):
        checkpoint.read("layers.2.hc_ffn_base")


def test_endless_redirects_are_refused(site, address):
    site.redirects["/m/a.safetensors"] = f"{address}/m/a.safetensors"
    with pytest.raises(ContainerError, match="the server redirects without end"):
        open_checkpoint(f"{address}/m/a.safetensors")


def test_a_redirect_from_https_to_http_is_refused():
    from urllib.error import URLError
    from urllib.request import Request

    redirects = http_client._StrictRedirects()
    with pytest.raises(URLError, match="unencrypted"):
        redirects.redirect_request(Request("https://a/x"), None, 302, "", {}, "http://a/x")


def test_a_missing_shard_is_named(site, address):
    files = sharded(deepseek_v4_tensors())
    del files["model-00002-of-00002.safetensors"]
    site.hub("a/b", files)
    with pytest.raises(ContainerError, match=r"model-00002-of-00002\.safetensors: no such file"):
        open_checkpoint("hf://a/b")
    del site.files["/a/b/resolve/c0ffee/model.safetensors.index.json"]
    site.hub("a/b", {name: content for name, content in files.items() if name.endswith(".safetensors")})
    with pytest.raises(ContainerError, match=r"model-00002-of-00002\.safetensors: no such file, but"):
        open_checkpoint("hf://a/b")


def test_a_model_without_safetensors_lists_what_it_has(site, address):
    site.hub("a/b", {"pytorch_model.bin": b"", "README.md": b""})
    with pytest.raises(ContainerError, match=r"no model\.safetensors; it holds 'pytorch_model\.bin', 'README\.md'"):
        open_checkpoint("hf://a/b")


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("hf://only-one", "a malformed address; expected hf://owner/model"),
        ("hf://a/b/../c d", "a malformed address"),
        ("https:///x.safetensors", "an address without a host"),
        ("https://host/model.bin", r"an address that ends in 'model\.bin'; expected one of a \.safetensors file"),
        ("https://host/", "an address that ends in ''"),
    ],
)
def test_malformed_addresses_are_refused(address, path: str, found: str):
    with pytest.raises(ContainerError, match=found):
        open_checkpoint(path)


def test_an_index_that_leads_outside_is_refused(site, address):
    index = {"weight_map": {"w": "../../other/model.safetensors"}}
    site.hub("a/b", {"model.safetensors.index.json": json.dumps(index).encode()})
    with pytest.raises(ContainerError, match="expected a file inside the directory of the index"):
        open_checkpoint("hf://a/b")


def test_a_broken_header_is_refused_with_its_address(site, address):
    put(site, {"a.safetensors": b"\x08\0\0\0\0\0\0\0notjson!", "config.json": b"{}"})
    with pytest.raises(ContainerError, match=rf"{address}/m/a\.safetensors: "):
        open_checkpoint(f"{address}/m/a.safetensors")
