"""Rules of one value, compiled from the contracts into functions that say what is wrong with a value, or None."""

import math
import operator
import re
from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any

from buf.validate import validate_pb2
from google.protobuf.descriptor import FieldDescriptor

from areal_mesh.runtime.durations import from_duration

_SHOWN = 48
# What a google.protobuf.Duration can hold by its own definition.
_MOST_SECONDS, _MOST_NANOS = 315_576_000_000, 999_999_999
_KINDS = {
    FieldDescriptor.TYPE_FLOAT: "float",
    FieldDescriptor.TYPE_DOUBLE: "double",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_ENUM: "enum",
}
_COMPARISONS: tuple[tuple[str, str, Callable[[Any, Any], bool]], ...] = (
    ("lt", "under", operator.lt),
    ("lte", "at most", operator.le),
    ("gt", "over", operator.gt),
    ("gte", "at least", operator.ge),
)

ValueCheck = Callable[[Any], str | None]


class UnsupportedRule(TypeError):
    """A rule in a .proto that does not fit its field's type."""


def expect_rules(field: FieldDescriptor, kind: str | None, *allowed: str | None) -> None:
    """Raises UnsupportedRule where a field has rules of a kind that its type has not."""
    if kind is not None and kind not in allowed:
        raise UnsupportedRule(f"{field.full_name}: rules of a {kind} on another type")


def value_check(field: FieldDescriptor, rules: validate_pb2.FieldRules) -> ValueCheck | None:
    """One check of all that is asked of a value of a field's type; None where nothing is."""
    checks = _value_checks(field, rules)
    return reduce(_both, checks) if checks else None


def _both(one: ValueCheck, other: ValueCheck) -> ValueCheck:
    return lambda value: one(value) or other(value)


def _value_checks(field: FieldDescriptor, rules: validate_pb2.FieldRules) -> tuple[ValueCheck, ...]:
    kind = rules.WhichOneof("type")
    if field.message_type is not None:
        expect_rules(field, kind, "duration")
        return (_duration_in_its_own_range, *_duration_range(rules.duration)) if kind else (_duration_in_its_own_range,)
    if kind is None:
        return ()
    expect_rules(field, kind, _KINDS.get(field.type))
    given = getattr(rules, kind)
    if kind == "string":
        return tuple(_string_checks(given))
    if kind == "bytes":
        return tuple(_length_checks(given, "min_len", "max_len", len))
    if kind == "enum":
        return (_enum_check(field, given),)
    return tuple(_number_checks(given))


def _number_checks(rules: Any) -> Iterator[ValueCheck]:
    if "finite" in rules.DESCRIPTOR.fields_by_name and rules.finite:
        yield lambda value: None if math.isfinite(value) else f"{value} is not a finite number"
    for key, words, holds in _COMPARISONS:
        if rules.HasField(key):
            yield _comparison(getattr(rules, key), words, holds)


def _comparison(bound: Any, words: str, holds: Callable[[Any, Any], bool]) -> ValueCheck:
    # NaN holds nowhere.
    return lambda value: None if holds(value, bound) else f"{value} is out of range: {words} {bound} is needed"


def _string_checks(rules: validate_pb2.StringRules) -> Iterator[ValueCheck]:
    yield from _length_checks(rules, "min_bytes", "max_bytes", lambda value: len(value.encode()))
    if rules.HasField("pattern"):
        # `$` alone would let a line feed at the end through, which RE2's does not.
        matches = re.compile(re.sub(r"\$$", r"\\Z", rules.pattern)).search
        pattern = rules.pattern
        yield lambda value: None if matches(value) else f"{shown(value)} does not match {pattern}"


def _length_checks(rules: Any, low: str, high: str, measure: Callable[[Any], int]) -> Iterator[ValueCheck]:
    least = getattr(rules, low)
    most = getattr(rules, high) if rules.HasField(high) else math.inf
    if least > 0 or most < math.inf:

        def check(value: Any) -> str | None:
            length = measure(value)
            return None if least <= length <= most else f"{length} bytes; {least} to {most} are taken"

        yield check


def _enum_check(field: FieldDescriptor, rules: validate_pb2.EnumRules) -> ValueCheck:
    numbers = {} if field.enum_type is None else field.enum_type.values_by_number
    allowed = set(numbers) - set(rules.not_in)
    if not rules.defined_only:
        raise UnsupportedRule(f"{field.full_name}: rules of an enum need defined_only")
    names = ", ".join(numbers[number].name for number in sorted(allowed))
    return lambda value: None if value in allowed else f"{value} is none of {names}"


def _duration_in_its_own_range(value: Any) -> str | None:
    if abs(value.seconds) <= _MOST_SECONDS and abs(value.nanos) <= _MOST_NANOS:
        return None
    return f"{value.seconds} s and {value.nanos} ns are no duration"


def _duration_range(rules: validate_pb2.DurationRules) -> Iterator[ValueCheck]:
    for key, words, holds in _COMPARISONS:
        if rules.HasField(key):  # type: ignore[arg-type]
            in_range = _comparison(from_duration(getattr(rules, key)), words, holds)
            yield lambda value, in_range=in_range: in_range(from_duration(value))  # type: ignore[misc]


def shown(value: Any) -> str:
    """A value as an error names it: short, and without what a terminal would act on."""
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(value)} characters)"
