"""Limits of the contracts: compiled for every message, and each kind of rule refuses by the field's path."""

from typing import Any

import pytest
from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st

from areal_mesh.runtime.methods import _FILES, CONTROL_REQUEST_BYTES, longest_request, method_rules
from areal_mesh.runtime.text import plain_text
from areal_mesh.runtime.validation import message_checks, validate
from areal_mesh.v1 import common_pb2, controller_pb2, generator_pb2, learner_pb2, replay_pb2, rollout_pb2, weights_pb2

ME: dict[str, Any] = {"service_id": "generator-0", "incarnation": "a1"}
# double, int64, int32, string, bytes, enum
GROWING = (1, 3, 5, 9, 12, 14)
REQUESTS = sorted(
    {
        method.input_type.name
        for file in _FILES
        for service in file.services_by_name.values()
        for method in service.methods
    }
)


def descriptors() -> dict[str, Descriptor]:
    return {
        method.input_type.name: method.input_type
        for file in _FILES
        for service in file.services_by_name.values()
        for method in service.methods
    }


@pytest.mark.parametrize("name", REQUESTS)
def test_every_request_has_a_limit_for_each_field_that_could_grow_or_be_no_number(name: str) -> None:
    unlimited = []

    def look(descriptor: Descriptor) -> None:
        for field in descriptor.fields:
            rules = field.GetOptions().Extensions[validate_pb2.field]
            kind = rules.WhichOneof("type")
            inner = field.message_type
            if inner is not None and not inner.GetOptions().map_entry and inner.full_name != "google.protobuf.Duration":
                look(inner)
            single = inner is not None and not field.is_repeated
            grows = field.is_repeated or field.type in GROWING
            if kind is None and grows and not rules.required and not single:
                unlimited.append(field.full_name)

    look(descriptors()[name])
    assert unlimited == []
    message_checks(descriptors()[name])


@pytest.mark.parametrize(
    ("message", "field", "description"),
    [
        (controller_pb2.DeregisterRequest(incarnation="a"), "service_id", "does not match"),
        (controller_pb2.DeregisterRequest(service_id="../x", incarnation="a"), "service_id", "does not match"),
        (controller_pb2.DeregisterRequest(service_id="x\0", incarnation="a"), "service_id", r"'x\\x00' does not match"),
        (controller_pb2.DeregisterRequest(service_id="x\n", incarnation="a"), "service_id", "does not match"),
        (controller_pb2.DeregisterRequest(service_id="x" * 5000, incarnation="a"), "service_id", "5000 characters"),
        (controller_pb2.DeregisterRequest(**ME, reason="r" * 5000), "reason", "5000 bytes; 0 to 4096 are taken"),
        (controller_pb2.FindMembersRequest(), "role", "0 is none of ROLE_CONTROLLER"),
        (controller_pb2.FindMembersRequest(role=77), "role", "77 is none of"),  # type: ignore[arg-type]
        (controller_pb2.NextStepRequest(**ME, policy_version=-1), "policy_version", "at least 0"),
        (controller_pb2.NextStepRequest(**ME, policy_version=2**62), "policy_version", "at most 2147483647"),
        (controller_pb2.NextStepRequest(**ME, wait=Duration(seconds=-1)), "wait", "at least 0"),
        (controller_pb2.NextStepRequest(**ME, wait=Duration(seconds=2**62)), "wait", "no duration"),
        (controller_pb2.NextStepRequest(**ME, wait=Duration(seconds=100_000)), "wait", "at most 86400"),
        (controller_pb2.HeartbeatRequest(**ME, group_ids=["g1", "g 2"]), "group_ids[1]", "does not match"),
        (controller_pb2.HeartbeatRequest(**ME, rate=float("nan")), "rate", "not a finite number"),
        (controller_pb2.HeartbeatRequest(**ME, seconds_since_progress=float("nan")), "seconds_since_progress", "range"),
        (controller_pb2.HeartbeatRequest(**ME, metrics={"a": float("inf")}), "metrics['a']", "not a finite number"),
        (controller_pb2.HeartbeatRequest(**ME, metrics={"a b": 1.0}), "metrics['a b']", "does not match"),
        (controller_pb2.HeartbeatRequest(**ME, metrics={f"m{n}": 1 for n in range(300)}), "metrics", "300 pairs"),
        (controller_pb2.CommitStepRequest(**ME, step=1, policy_version=1), "group_ids", "0 items; 1 to 65536"),
        (learner_pb2.OpenTransferRequest(transfer_id="g", world_size=10**6), "world_size", "at most 65536"),
        (learner_pb2.OpenTransferRequest(transfer_id="g", world_size=2), "timeout", "has to be set"),
        (generator_pb2.PrepareWeightsRequest(), "manifest", "has to be set"),
        (replay_pb2.AppendGroupRequest(), "group", "has to be set"),
        (replay_pb2.AppendGroupRequest(lease_seal=b"x" * 65), "group", "has to be set"),
    ],
)
def test_what_passes_a_limit_is_refused_by_its_field(message: Any, field: str, description: str) -> None:
    violation = validate(message)
    assert violation is not None
    assert violation.field == field
    assert description.replace("\\\\", "\\") in violation.description


def test_a_limit_deep_in_a_message_is_named_by_its_whole_path() -> None:
    info = rollout_pb2.ResponseInfo(
        length=1,
        finish_reason=rollout_pb2.FINISH_REASON_STOP,
        version_spans=[rollout_pb2.VersionSpan(policy_version=-5, end=1)],
        verdict=rollout_pb2.Verdict(),
    )
    group = rollout_pb2.Group(
        group_id="g1",
        prompt_id="p",
        stage=common_pb2.Stage(name="8K", max_response_tokens=8),
        prompt_token_ids=b"0000",
        response_token_ids=b"0000",
        behaviour_log_probs=b"0000",
        responses=[info],
        temperature=0.6,
    )
    violation = validate(replay_pb2.AppendGroupRequest(group=group))
    assert violation is not None
    assert violation.field == "group.responses[0].version_spans[0].policy_version"
    info.version_spans[0].policy_version = 0
    del group.responses[:]
    group.responses.append(info)
    assert validate(replay_pb2.AppendGroupRequest(group=group)) is None
    shape = weights_pb2.TensorSpec(name="w", dtype="float32", shape=[2, -2])
    manifest = weights_pb2.WeightManifest(tensors=[shape])
    found = validate(generator_pb2.PrepareWeightsRequest(manifest=manifest, group=weights_pb2.TransferGroup()))
    assert found is not None
    assert found.field == "manifest.tensors[0].shape[1]"


def test_what_may_be_left_out_is_passed_over_and_what_is_in_range_passes() -> None:
    register = controller_pb2.RegisterRequest(**ME, role=common_pb2.ROLE_GENERATOR, address="[::1]:7400")
    assert validate(register) is None
    register.run_name = "no/name"
    found = validate(register)
    assert found is not None
    assert found.field == "run_name"
    for address in ("", "host", "host:", "a b:1", "::1:7400", "h:123456", "h\0:1"):
        register = controller_pb2.RegisterRequest(**ME, role=common_pb2.ROLE_GENERATOR, address=address)
        assert validate(register) is not None, address


@given(st.text(), st.integers(0, 200_000))
def test_any_text_made_plain_keeps_the_limits_of_a_reason(text: str, repeats: int) -> None:
    assert validate(controller_pb2.StopRequest(reason=plain_text(text * (repeats % 50)))) is None


def test_control_servers_take_4_mib_and_bulk_ones_what_their_methods_name() -> None:
    control = ("areal_mesh.v1.ControllerService", "areal_mesh.v1.StatusService")
    assert longest_request(control) == CONTROL_REQUEST_BYTES == 4 << 20
    rules = method_rules()
    assert rules["/areal_mesh.v1.ReplayService/ReleaseSteps"].max_request_bytes == 4 << 20
    append = rules["/areal_mesh.v1.ReplayService/AppendGroup"].max_request_bytes
    assert longest_request(["areal_mesh.v1.ReplayService"]) == append > 4 << 20
