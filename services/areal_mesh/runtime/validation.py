"""What a message may hold: the limits of the contracts, compiled once into plain functions.

The .proto files state them in buf's protovalidate notation (`protos/buf/validate`), so that a caller in another
language can check a message before it sends it. A message that passes has every number, text, list and map within its
limits, in all messages within it; what the run allows beyond that is for the service to judge.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from areal_mesh.runtime.value_rules import ValueCheck, expect_rules, shown, value_check

_DURATION = "google.protobuf.Duration"


@dataclass(frozen=True, slots=True)
class Violation:
    """A limit that a message passes: the path of the field, and what would do."""

    field: str
    description: str

    def within(self, path: str) -> "Violation":
        """The same, seen from the message whose field `path` holds this one's."""
        return Violation(f"{path}.{self.field}", self.description)


Check = Callable[[Any], Violation | None]
"""Takes a message; the violation is named from there, so that nobody writes a path while all is well."""


def validate(message: Message) -> Violation | None:
    """The first limit that a message passes, None where it keeps them all.

    Raises:
        UnsupportedRule: the contract states a rule that cannot be kept.
    """
    return _first_violation(message_checks(message.DESCRIPTOR), message)


def _first_violation(checks: tuple[Check, ...], message: Any) -> Violation | None:
    for check in checks:
        violation = check(message)
        if violation is not None:
            return violation
    return None


@cache
def message_checks(descriptor: Descriptor) -> tuple[Check, ...]:
    """The checks of a message's fields, those of messages within it included; empty where it has no limits."""
    return tuple(check for field in descriptor.fields for check in _field_checks(field))


def _field_checks(field: FieldDescriptor) -> Iterator[Check]:
    rules = field.GetOptions().Extensions[validate_pb2.field]
    kind = rules.WhichOneof("type")
    if _is_map(field):
        expect_rules(field, kind, "map")
        yield from _map_checks(field, rules.map)
    elif field.is_repeated:
        expect_rules(field, kind, "repeated")
        yield from _repeated_checks(field, rules.repeated)
    elif field.message_type is not None and field.message_type.full_name != _DURATION:
        expect_rules(field, kind, None)
        yield from _nested_checks(field, rules.required)
    else:
        yield from _single_checks(field, rules)


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _single_checks(field: FieldDescriptor, rules: validate_pb2.FieldRules) -> Iterator[Check]:
    name, has_presence = field.name, field.has_presence
    if rules.required:
        yield _required(field)
    fault_of = value_check(field, rules)
    if fault_of is None:
        return
    skip_zero = rules.ignore == validate_pb2.IGNORE_IF_ZERO_VALUE

    def check(message: Any) -> Violation | None:
        if has_presence and not message.HasField(name):
            return None
        value = getattr(message, name)
        fault = None if skip_zero and not value else fault_of(value)
        return None if fault is None else Violation(name, fault)

    yield check


def _nested_checks(field: FieldDescriptor, required: bool) -> Iterator[Check]:
    name = field.name
    if required:
        yield _required(field)
    assert field.message_type is not None
    checks = message_checks(field.message_type)
    if checks:

        def check(message: Any) -> Violation | None:
            violation = _first_violation(checks, getattr(message, name)) if message.HasField(name) else None
            return violation and violation.within(name)

        yield check


def _required(field: FieldDescriptor) -> Check:
    name, has_presence = field.name, field.has_presence

    def check(message: Any) -> Violation | None:
        present = message.HasField(name) if has_presence else bool(getattr(message, name))
        return None if present else Violation(name, "has to be set")

    return check


def _repeated_checks(field: FieldDescriptor, rules: validate_pb2.RepeatedRules) -> Iterator[Check]:
    name = field.name
    yield from _size_checks(name, rules, "items")
    if field.message_type is None:
        fault_of = value_check(field, rules.items)
        if fault_of is not None:
            yield partial(_check_values, name, fault_of)
        return
    checks = message_checks(field.message_type)
    if checks:
        yield partial(_check_messages, name, checks)


def _check_values(name: str, fault_of: ValueCheck, message: Any) -> Violation | None:
    for index, value in enumerate(getattr(message, name)):
        fault = fault_of(value)
        if fault is not None:
            return Violation(f"{name}[{index}]", fault)
    return None


def _check_messages(name: str, checks: tuple[Check, ...], message: Any) -> Violation | None:
    for index, value in enumerate(getattr(message, name)):
        violation = _first_violation(checks, value)
        if violation is not None:
            return violation.within(f"{name}[{index}]")
    return None


def _map_checks(field: FieldDescriptor, rules: validate_pb2.MapRules) -> Iterator[Check]:
    name = field.name
    yield from _size_checks(name, rules, "pairs")
    assert field.message_type is not None
    entry = field.message_type.fields_by_name
    of_key = value_check(entry["key"], rules.keys)
    of_value = value_check(entry["value"], rules.values)

    def check(message: Any) -> Violation | None:
        for key, value in getattr(message, name).items():
            fault = (of_key and of_key(key)) or (of_value and of_value(value))
            if fault:
                return Violation(f"{name}[{shown(key)}]", fault)
        return None

    if of_key or of_value:
        yield check


def _size_checks(name: str, rules: Any, unit: str) -> Iterator[Check]:
    least = getattr(rules, f"min_{unit}")
    most = getattr(rules, f"max_{unit}") if rules.HasField(f"max_{unit}") else math.inf
    if least == 0 and most == math.inf:
        return

    def check(message: Any) -> Violation | None:
        size = len(getattr(message, name))
        return None if least <= size <= most else Violation(name, f"{size} {unit}; {least} to {most} are taken")

    yield check
