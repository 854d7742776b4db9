"""Who may do what: subjects, tokens, refusals and rates, with plain values."""

import json
from dataclasses import replace

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from areal_mesh.runtime.errors import MeshError
from areal_mesh.runtime.identity import ROLE_NAMES
from areal_mesh.runtime.methods import method_rules
from areal_mesh.runtime.security.authentication import host_of
from areal_mesh.runtime.security.authorization import Caller, check_claims, check_method
from areal_mesh.runtime.security.rates import _MOST_PEERS, PeerRates
from areal_mesh.runtime.security.subject import Subject
from areal_mesh.runtime.security.tokens import (
    TOKEN_PREFIX,
    TokensError,
    holder_of,
    new_token,
    parse_records,
    records_text,
    token_record,
)
from areal_mesh.v1 import controller_pb2

NOW = 1_000_000.0
STEERING = {"Stop", "Pause", "Resume", "AdvanceStage", "TakeCheckpoint", "Generate", "Verify"}
"""What a person may do with an operator's token alone; grading and generating take the run's processors."""


@pytest.mark.parametrize("role", ROLE_NAMES)
@pytest.mark.parametrize("service_id", ["", "generator-3", "a.b_c-7"])
def test_a_subject_is_read_from_the_uri_that_it_writes(role: str, service_id: str) -> None:
    subject = Subject(role, service_id)
    assert Subject.from_uri(subject.uri) == subject


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "generator",
        "spiffe://areal-mesh/",
        "spiffe://areal-mesh/king",
        "spiffe://areal-mesh/generator/",
        "spiffe://areal-mesh/generator/a/b",
        "spiffe://areal-mesh/generator/-a",
        "spiffe://areal-mesh/generator\n",
        "spiffe://areal-mesh.example/generator",
        "https://areal-mesh/generator",
    ],
)
def test_no_other_uri_names_a_subject(uri: str) -> None:
    assert Subject.from_uri(uri) is None


def test_a_subject_of_no_role_is_not_made() -> None:
    with pytest.raises(ValueError, match="there is no role 'king'"):
        Subject("king")
    with pytest.raises(ValueError, match="is no service id"):
        Subject("learner", "../learner")


def test_a_file_of_tokens_keeps_none_of_them() -> None:
    token = new_token()
    record = token_record(token, "anna", "operator")
    text = records_text((record,))
    assert token.startswith(TOKEN_PREFIX)
    assert token not in text
    assert token.removeprefix(TOKEN_PREFIX) not in text
    assert parse_records(text) == (record,)
    assert new_token() != token


def test_a_token_is_its_holders_until_it_expires() -> None:
    token = new_token()
    records = (token_record(new_token(), "bob", "read-only"), token_record(token, "anna", "operator", NOW + 1))
    assert holder_of(token, records, NOW) == records[1]
    assert holder_of(token, records, NOW + 1) is None
    assert holder_of(token, records[:1], NOW) is None
    assert holder_of("", records, NOW) is None


@given(st.text())
def test_no_other_text_is_taken_for_a_token(text: str) -> None:
    records = (token_record("areal-mesh-token-x", "anna", "operator"),)
    assert (holder_of(text, records, NOW) is not None) == (text == "areal-mesh-token-x")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"tokens": [{}]}', '{"tokens": [1]}', '{"tokens": 7}'])
def test_a_file_of_something_else_is_no_file_of_tokens(text: str) -> None:
    with pytest.raises(TokensError, match="areal-mesh tokens add"):
        parse_records(text)


def test_an_access_that_nobody_knows_is_not_taken_for_one() -> None:
    entry = {"name": "anna", "access": "everything", "sha256": "0", "expires": None}
    with pytest.raises(TokensError, match="'anna' has access 'everything'; there are read-only, operator"):
        parse_records(json.dumps({"tokens": [entry]}))


@pytest.mark.parametrize("method", method_rules())
@pytest.mark.parametrize("role", ROLE_NAMES)
def test_a_method_is_for_the_roles_of_its_contract(method: str, role: str) -> None:
    rules = method_rules()[method]
    caller = Caller(role, role)
    if not rules.roles or role in rules.roles:
        check_method(method, rules, caller)
        return
    with pytest.raises(MeshError) as refused:
        check_method(method, rules, caller)
    assert refused.value.code is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("method", [name for name, rules in method_rules().items() if "client" in rules.roles])
def test_a_read_only_token_steers_nothing(method: str) -> None:
    rules, caller = method_rules()[method], Caller("client", "bob", access="read-only")
    if method.rpartition("/")[2] not in STEERING:
        check_method(method, rules, caller)
        return
    with pytest.raises(MeshError, match="needs an operator's token; the caller is bob") as refused:
        check_method(method, rules, caller)
    assert refused.value.code is grpc.StatusCode.PERMISSION_DENIED


def test_what_is_read_only_changes_nothing() -> None:
    read_only = {name.rpartition("/")[2] for name, rules in method_rules().items() if rules.read_only}
    assert read_only == {"FindMembers", "GetConfig", "GetStatus", "WatchStatus", "GetReplayStatistics"}


def test_a_method_that_may_be_called_by_anybody_and_is_not_read_only_is_none_of_a_read_only_token() -> None:
    rules = replace(method_rules()["/areal_mesh.v1.StatusService/GetStatus"], read_only=False)
    with pytest.raises(MeshError):
        check_method("/a.B/C", rules, Caller("client", "bob", access="read-only"))


def test_a_certificate_bounds_what_a_request_may_say_of_its_sender() -> None:
    bound = Caller("generator", "generator/generator-3", "generator-3", authenticated=True)
    of_the_role = Caller("generator", "generator", authenticated=True)
    stated = Caller("generator", "generator")
    other = controller_pb2.HeartbeatRequest(service_id="generator-4")
    with pytest.raises(MeshError, match="'generator-4'; the caller's certificate is for generator-3"):
        check_claims(other, bound)
    check_claims(other, of_the_role)
    check_claims(other, stated)
    check_claims(controller_pb2.HeartbeatRequest(service_id="generator-3"), bound)
    as_learner = controller_pb2.RegisterRequest(service_id="generator-3", role=ROLE_NAMES["learner"])
    for caller in (bound, of_the_role):
        with pytest.raises(MeshError, match="role is learner; the caller's certificate is for generator"):
            check_claims(as_learner, caller)
    # Here the role is what is looked for.
    check_claims(controller_pb2.FindMembersRequest(role=ROLE_NAMES["learner"]), bound)


def test_a_peer_may_call_so_often_and_has_no_more_than_two_seconds_saved() -> None:
    rates = PeerRates(10.0)
    assert [rates.seconds_to_wait("a", 0.0) for _ in range(20)] == [0.0] * 20
    assert rates.seconds_to_wait("a", 0.0) == pytest.approx(0.1)
    assert rates.seconds_to_wait("b", 0.0) == 0.0
    assert rates.seconds_to_wait("a", 0.1) == 0.0
    assert rates.seconds_to_wait("a", 0.1) == pytest.approx(0.1)
    assert [rates.seconds_to_wait("a", 1e6) for _ in range(21)] == [0.0] * 20 + [pytest.approx(0.1)]


@given(st.lists(st.floats(min_value=0, max_value=1), min_size=1, max_size=200))
def test_over_any_time_a_peer_makes_its_rate_and_what_it_had_saved_at_most(pauses: list[float]) -> None:
    rates, now, made = PeerRates(5.0), 0.0, 0
    for pause in pauses:
        now += pause
        made += rates.seconds_to_wait("a", now) == 0.0
    assert made <= 10 + 5.0 * now + 1e-6


def test_peers_without_end_take_no_memory_without_end() -> None:
    rates = PeerRates(1.0)
    for number in range(3 * _MOST_PEERS):
        rates.seconds_to_wait(f"peer-{number}", 0.0)
    assert len(rates._buckets) == _MOST_PEERS
    rates.seconds_to_wait(f"peer-{2 * _MOST_PEERS}", 0.0)
    rates.seconds_to_wait("another", 0.0)
    assert f"peer-{2 * _MOST_PEERS}" in rates._buckets, "the one that was silent longest goes"


def test_a_peer_is_a_host_and_not_a_port() -> None:
    assert host_of("ipv4:10.0.0.1:4711") == "ipv4:10.0.0.1"
    assert host_of("ipv6:%5Bfd00::7%5D:4711") == "ipv6:%5Bfd00::7%5D"
