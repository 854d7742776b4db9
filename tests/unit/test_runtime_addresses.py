"""The one reader of host:port: what is written reads back, IPv6 included, and what is none says what would do."""

import contextlib
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from areal_mesh.runtime.addresses import Address, parse_host
from areal_mesh.runtime.settings import load_settings
from areal_mesh.runtime.settings.files import SettingsError

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z][a-z0-9]{0,8})?", fullmatch=True)
HOSTS = st.one_of(st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str), NAMES)
PORTS = st.integers(0, 65535)


@given(HOSTS, PORTS)
def test_an_address_that_is_written_reads_back(host: str, port: int) -> None:
    address = Address(host, port)
    assert Address.parse(str(address)) == address
    assert str(address).startswith("[") == (":" in host)


@given(st.ip_addresses(v=6))
def test_an_ipv6_host_is_the_same_with_brackets_and_without(host: ipaddress.IPv6Address) -> None:
    assert parse_host(f"[{host}]") == parse_host(str(host)) == str(host)


@given(st.text(max_size=30))
def test_any_text_is_an_address_that_reads_back_or_a_fault_that_says_what_would_do(text: str) -> None:
    with contextlib.suppress(ValueError):
        address = Address.parse(text)
        assert Address.parse(str(address)) == address
        assert 0 <= address.port <= 65535
        assert "[" not in address.host
        return
    with pytest.raises(ValueError, match=r"write host:port|name one"):
        Address.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "7400", ":7400", "host", "host:", "host:x", "host:-1", "host:65536", "::1:7400", "[::1]", "[::1:7400"),
        *("::1", "[host]:1", "[127.0.0.1]:1", "a b:1", "host:1 ", "http://host:1", "host:٣", "host:1\n", "-a:1"),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Address.parse(text)


@pytest.mark.parametrize(
    ("text", "wildcard", "loopback", "local"),
    [
        ("0.0.0.0:1", True, False, "127.0.0.1:1"),
        ("[::]:1", True, False, "[::1]:1"),
        ("[0:0:0:0:0:0:0:0]:1", True, False, "[::1]:1"),
        ("127.0.0.1:1", False, True, "127.0.0.1:1"),
        ("127.8.0.1:1", False, True, "127.8.0.1:1"),
        ("[::1]:1", False, True, "[::1]:1"),
        ("localhost:1", False, True, "localhost:1"),
        ("10.0.0.1:1", False, False, "10.0.0.1:1"),
        ("learner:1", False, False, "learner:1"),
    ],
)
def test_what_an_address_reaches(text: str, wildcard: bool, loopback: bool, local: str) -> None:
    address = Address.parse(text)
    assert (address.is_wildcard, address.is_loopback) == (wildcard, loopback)
    assert str(address.seen_from_its_machine()) == local


def test_settings_take_ipv6_addresses_and_know_the_loopback_among_them() -> None:
    settings = load_settings("trial", ["controller.listen=[::1]:7400", "learner.listen=[::1]:0"])
    assert settings.controller.address == Address("::1", 7400)
    assert settings.learner.reached_host == "::1"
    with pytest.raises(SettingsError, match=r"controller\.listen = \[::\]:7400 is beyond loopback in plain text"):
        load_settings("trial", ["controller.listen=[::]:7400"])
    with pytest.raises(SettingsError, match=r"controller\.listen: is an IPv6 address without brackets; write"):
        load_settings("trial", ["controller.listen=::1:7400"])


def test_a_host_to_advertise_may_stand_in_brackets() -> None:
    settings = load_settings("trial", ["plaintext_beyond_loopback=true", "learner.advertise=[fd00::7]"])
    assert settings.learner.advertise == settings.learner.reached_host == "fd00::7"
    with pytest.raises(SettingsError, match=r"learner\.advertise: 'fd00::7:0:0:0:0:0:0' is no host"):
        load_settings("trial", ["learner.advertise=fd00::7:0:0:0:0:0:0"])
