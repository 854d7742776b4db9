"""Hostile messages: random bytes, and sound messages that were changed. Seeded, so that a failure can be repeated."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from areal_mesh.runtime.methods import _FILES, method_rules
from areal_mesh.runtime.validation import validate

SERVICES = {
    "ControllerService": "controller",
    "StatusService": "controller",
    "GeneratorService": "generator",
    "LearnerService": "learner",
    "ReplayService": "replay",
    "VerifierService": "verifier",
}
CALLERS = ("controller", "generator", "verifier", "replay", "learner", "client", "nobody")
# Sound ones of these do what they say, whoever sends them: that is for the transport to keep from strangers.
OBEYED = ("Stop", "Pause", "AdvanceStage", "TakeCheckpoint")
_TEXTS = ("", "x", "x" * 5_000, "\0", "../../etc/passwd", "\x1b[31m", "é", "g00000000", "learner")
_NUMBERS = (0, 1, -1, 2, 2**31 - 1, -(2**31), 2**62, 2**63 - 1, -(2**63))
_FLOATS = (0.0, -1.0, 1e9, 1e308, float("nan"), float("inf"), float("-inf"))
_FILLED: dict[str, Any] = {
    "address": "127.0.0.1:1",
    "endpoint": "tcp://127.0.0.1:1",
    "role": 3,
    "dtype": "float32",
    "world_size": 2,
}


@dataclass(frozen=True)
class Target:
    """A method of a service."""

    service: str
    method: MethodDescriptor

    @property
    def path(self) -> str:
        return f"/areal_mesh.v1.{self.service}/{self.method.name}"

    @property
    def role(self) -> str:
        """Who serves it."""
        return SERVICES[self.service]

    def parse(self, request: bytes) -> Message | None:
        """The message, None where the bytes are none."""
        try:
            return GetMessageClass(self.method.input_type).FromString(request)
        except (DecodeError, ValueError):
            return None

    def takes(self, request: bytes) -> bool:
        """Whether the contract takes these bytes."""
        message = self.parse(request)
        return message is not None and validate(message) is None

    def allows(self, caller: str) -> bool:
        """Whether callers of a role may call it."""
        roles = method_rules()[self.path].roles
        return not roles or caller in roles


@cache
def targets() -> tuple[Target, ...]:
    """Every method of every service."""
    return tuple(
        Target(service.name, method)
        for file in _FILES
        for service in file.services_by_name.values()
        for method in service.methods
    )


def sound(target: Target) -> Message:
    """A message within every limit, of a caller that is no member."""
    message = GetMessageClass(target.method.input_type)()
    _fill(message)
    violation = validate(message)
    assert violation is None, f"{target.path}: {violation}"
    return message


def _fill(message: Any) -> None:
    for field in message.DESCRIPTOR.fields:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            continue
        if field.message_type is not None:
            child = getattr(message, field.name)
            if field.is_repeated:
                child = child.add()
            if field.message_type.full_name == "google.protobuf.Duration":
                child.nanos = 1_000_000
            else:
                _fill(child)
        elif field.is_repeated:
            getattr(message, field.name).append(_value(field))
        else:
            setattr(message, field.name, _value(field))


def _value(field: FieldDescriptor) -> Any:
    if field.name in _FILLED:
        return _FILLED[field.name]
    if field.type == FieldDescriptor.TYPE_STRING:
        return "stranger"
    if field.type == FieldDescriptor.TYPE_BYTES:
        return b"0123"
    return 1


def random_messages(seed: int, count: int) -> Iterator[tuple[Target, str, bytes]]:
    """Random bytes to random methods, by random callers."""
    chance = random.Random(seed)
    for _ in range(count):
        request = chance.randbytes(chance.choice((0, 1, 2, 8, 64, 512, 4_096)))
        yield chance.choice(targets()), chance.choice(CALLERS), request


def changed_messages(seed: int, count: int) -> Iterator[tuple[Target, str, bytes]]:
    """Sound messages, changed: fields set to what is at the edge or beyond, or the bytes of it damaged."""
    chance = random.Random(seed)
    for _ in range(count):
        target = chance.choice(targets())
        allowed = sorted(method_rules()[target.path].roles) or ["client"]
        caller = chance.choice(allowed) if chance.random() < 0.9 else chance.choice(CALLERS)
        message = sound(target)
        for _ in range(chance.randint(1, 3)):
            _change(message, chance)
        request = message.SerializeToString()
        yield target, caller, damaged(request, chance) if chance.random() < 0.5 else request


def _change(message: Any, chance: random.Random) -> None:
    fields = message.DESCRIPTOR.fields
    if not fields:
        return
    field = chance.choice(fields)
    if field.message_type is not None:
        if not field.is_repeated:
            _change(getattr(message, field.name), chance)
        elif not field.message_type.GetOptions().map_entry and len(getattr(message, field.name)):
            _change(chance.choice(getattr(message, field.name)), chance)
        return
    try:
        value = chance.choice(_choices(field))
        if field.is_repeated:
            getattr(message, field.name).extend([value] * chance.choice((1, 2, 1_000)))
        else:
            setattr(message, field.name, value)
    except (ValueError, TypeError, OverflowError):
        message.ClearField(field.name)


def _choices(field: FieldDescriptor) -> Sequence[Any]:
    if field.type == FieldDescriptor.TYPE_STRING:
        return _TEXTS
    if field.type == FieldDescriptor.TYPE_BYTES:
        return (b"", b"\0" * 3, b"\1" * 16, b"\xff" * 4_096)
    if field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
        return _FLOATS
    return _NUMBERS


def damaged(request: bytes, chance: random.Random) -> bytes:
    """Bytes of which some are flipped, missing, repeated or cut off."""
    content = bytearray(request)
    for _ in range(chance.randint(1, 4)):
        if not content:
            break
        at = chance.randrange(len(content))
        match chance.randrange(4):
            case 0:
                content[at] ^= 1 << chance.randrange(8)
            case 1:
                del content[at : at + chance.randint(1, 8)]
            case 2:
                content[at:at] = content[at : at + chance.randint(1, 8)]
            case _:
                del content[at:]
    return bytes(content)
