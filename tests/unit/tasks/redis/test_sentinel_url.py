"""Addresses of Sentinels: what is taken, and what is said of the rest."""

import pytest

from transfer_tasks.redis.sentinel_url import SentinelUrl, WrongUrl

HOSTS = "sentinel://one:26379,two:26379"


def test_an_address_says_whom_to_ask_and_for_whom():
    url = SentinelUrl.parse(
        "sentinel://ann:p%40ss@one:26380,two,[::1]:7/3?master_name=m&replicas=2&sentinel_password=s%26s"
    )
    assert url.sentinels == (("one", 26380), ("two", 26379), ("::1", 7))
    assert (url.username, url.password, url.database) == ("ann", "p@ss", 3)
    assert (url.master_name, url.replicas, url.sentinel_password) == ("m", 2, "s&s")
    assert not url.is_tls
    assert "p@ss" not in repr(url)
    assert "s&s" not in repr(url)


def test_one_replica_is_waited_for_unless_told_otherwise():
    url = SentinelUrl.parse(f"{HOSTS}?master_name=m")
    assert (url.replicas, url.username, url.password, url.database) == (1, None, None, 0)


def test_tls_goes_to_the_sentinels_too(tmp_path):
    ca_file = tmp_path / "ca.pem"
    ca_file.touch()
    url = SentinelUrl.parse(f"sentinels://one/0?master_name=m&ssl_ca_certs={ca_file}")
    assert url.tls_options == {"ssl_cert_reqs": "required", "ssl_ca_certs": str(ca_file)}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"{HOSTS}/0", "master_name is missing"),
        (f"{HOSTS}/0?master_name=", "master_name is missing"),
        (f"{HOSTS}/zero?master_name=m", "the database must be a number"),
        (f"{HOSTS}?master_name=m&replicas=-1", "replicas must be a number"),
        (f"{HOSTS}?master_name=m&replicas=11", "replicas must be a number"),
        (f"{HOSTS}?master_name=m&quorum=2", "quorum is not an option"),
        (f"{HOSTS}?master_name=m&ssl_ca_certs=/ca.pem", "write sentinels://"),
        ("sentinels://one?master_name=m&ssl_ca_certs=/nowhere/ca.pem", "ssl_ca_certs names no file"),
        ("sentinel://?master_name=m", "a host and a port"),
        ("sentinel://one:0?master_name=m", "a host and a port"),
        ("sentinel://one:x?master_name=m", "a host and a port"),
        ("sentinel://one,,two?master_name=m", "a host and a port"),
        ("sentinel://one,[::1?master_name=m", "a host and a port"),
        ("sentinel://one,::1?master_name=m", "a host and a port"),
        ("sentinel://one:26379;two:26379?master_name=m", "a host and a port"),
    ],
)
def test_what_is_wrong_is_named_with_the_fix(url, said):
    with pytest.raises(WrongUrl, match=said):
        SentinelUrl.parse(url.replace("://", "://:hunter2@"))


@pytest.mark.parametrize(
    ("hosts", "sentinels"),
    [
        ("one:26380,[::1]:26381", (("one", 26380), ("::1", 26381))),
        ("[::1]:26380,one,[2001:db8::7]", (("::1", 26380), ("one", 26379), ("2001:db8::7", 26379))),
        ("[::1]", (("::1", 26379),)),
    ],
)
@pytest.mark.parametrize("login", ["", ":p@", "ann:p@"])
def test_an_ipv6_sentinel_may_stand_anywhere(login, hosts, sentinels):
    assert SentinelUrl.parse(f"sentinel://{login}{hosts}/0?master_name=m").sentinels == sentinels


def test_no_complaint_shows_a_password():
    with pytest.raises(WrongUrl) as refused:
        SentinelUrl.parse("sentinel://:hunter2@one:x?master_name=m")
    assert "hunter2" not in str(refused.value)
