"""What `doctor` finds out about a proxy: whether it leads to the platform, without a word of its password."""

from __future__ import annotations

import ssl

import pytest
import requests
import trustme

from support.connect_proxy import ConnectProxy
from support.far_end import FarEnd, make_answer
from transfer_worker.operations.doctor.proxy import check_proxy
from transfer_worker.runtime.findings import Verdict
from transfer_worker.settings import WorkerSettings


@pytest.fixture
def settings(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def make(api_url: str, proxy_url: str | None) -> WorkerSettings:
        monkeypatch.setenv("PIOPIY_TOKEN", "secret-token")
        monkeypatch.setenv("PIOPIY_API_URL", api_url)
        monkeypatch.setenv("PIOPIY_PROXY_URL", proxy_url or "")
        return WorkerSettings.load()

    return make


@pytest.fixture
def tls(monkeypatch, tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setattr(requests.adapters, "DEFAULT_CA_BUNDLE_PATH", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def not_found(connection, _number):
    connection.sendall(make_answer(404, b""))
    return True


def test_a_proxy_that_leads_there_is_well(settings, tls):
    with ConnectProxy(login="site:hunter2-s") as proxy, FarEnd(not_found, tls=tls) as far_end:
        (found,) = check_proxy(settings(far_end.url, proxy.url))
    place = f"127.0.0.1:{proxy.server_address[1]}"
    assert (found.check, found.verdict) == ("proxy", Verdict.OK)
    assert found.seen == f"http://***@{place} leads to 127.0.0.1, which answered HTTP 404"
    assert [request.line for request in far_end.requests] == ["HEAD / HTTP/1.1"]


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (b"HTTP/1.1 403 Not that host\r\n\r\n", "403 Not that host"),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407"),
        (b"nonsense\r\n", "nonsense"),
    ],
)
def test_a_proxy_that_refuses_is_a_problem_in_its_own_words(settings, refusal, said):
    with ConnectProxy(refusal=refusal) as proxy:
        url = proxy.url.replace("//", "//site:hunter2-s@")
        (found,) = check_proxy(settings("https://rest.piopiy.invalid/v3", url))
    assert found.verdict is Verdict.PROBLEM
    assert "does not lead to rest.piopiy.invalid" in found.seen
    assert said in found.seen
    assert "PIOPIY_PROXY_URL" in found.fix
    assert "hunter2" not in f"{found}"


def test_a_proxy_that_is_not_there_is_a_problem(settings):
    (found,) = check_proxy(settings("https://rest.piopiy.invalid/v3", "http://127.0.0.1:1"))
    assert (found.verdict, "refused" in found.seen) == (Verdict.PROBLEM, True)


def test_a_proxy_of_the_environment_is_said_to_have_no_effect(settings):
    env = {"HTTPS_PROXY": "http://site:hunter2-s@proxy.example:3128"}
    (found,) = check_proxy(settings("https://rest.piopiy.com/v3", None), env)
    assert (found.verdict, found.seen.split()[0]) == (Verdict.WARNING, "HTTPS_PROXY")
    assert "hunter2" not in f"{found}"
    assert check_proxy(settings("http://127.0.0.1:8900/v3", None), env) == []
    assert check_proxy(settings("https://rest.piopiy.com/v3", None), {}) == []
