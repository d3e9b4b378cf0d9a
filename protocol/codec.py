"""Messages as dataclasses with numbered fields, carried as CBOR maps.

    @message
    class Point:
        x: int = wire(1, unsigned(U32))
        note: str | None = wire(2, optional(text(100)), default=None)

A field is `number: value` in a CBOR map; numbers ascend, so equal messages are equal bytes. Decoding knows the declared
types and nothing else: a wrong type, a missing field, a value past its bound, a tag, an indefinite length, a repeated
key or one that is not an integer is `Malformed`; a field number nobody declared is ignored, which is how the protocol
grows. A member of a union carries its kind under key 0.
"""

import dataclasses
import io
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar, dataclass_transform

import cbor2

from protocol.errors import Malformed, TooLarge

M = TypeVar("M")

U32 = (1 << 32) - 1

MAX_DEPTH = 16
"""Nesting no message of ours comes near."""


class Kind(Protocol):
    """How one field's value is turned into what CBOR carries, and back with every bound checked."""

    def encode(self, value: Any) -> Any:
        """The value as CBOR's own types."""
        ...

    def decode(self, raw: Any) -> Any:
        """The value; `Malformed` when `raw` is not what this kind allows."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class _Plain:
    """A kind that CBOR carries as it is."""

    check: Callable[[Any], bool]
    name: str

    def encode(self, value: Any) -> Any:
        return value

    def decode(self, raw: Any) -> Any:
        if not self.check(raw):
            raise Malformed(f"expected {self.name}")
        return raw


def unsigned(limit: int) -> Kind:
    """An integer from 0 to `limit`, both included."""
    return _Plain(lambda raw: type(raw) is int and 0 <= raw <= limit, f"a number up to {limit}")


def signed(limit: int) -> Kind:
    """An integer from -limit to limit."""
    return _Plain(lambda raw: type(raw) is int and -limit <= raw <= limit, f"a number within ±{limit}")


def octets(length: int) -> Kind:
    """Exactly `length` bytes."""
    return _Plain(lambda raw: type(raw) is bytes and len(raw) == length, f"{length} bytes")


def blob(limit: int) -> Kind:
    """At most `limit` bytes."""
    return _Plain(lambda raw: type(raw) is bytes and len(raw) <= limit, f"at most {limit} bytes")


def text(limit: int) -> Kind:
    """A text of at most `limit` characters."""
    return _Plain(lambda raw: type(raw) is str and len(raw) <= limit, f"a text of at most {limit} characters")


def flag() -> Kind:
    """True or false."""
    return _Plain(lambda raw: type(raw) is bool, "true or false")


@dataclasses.dataclass(frozen=True, slots=True)
class _Optional:
    kind: Kind

    def encode(self, value: Any) -> Any:
        return None if value is None else self.kind.encode(value)

    def decode(self, raw: Any) -> Any:
        return None if raw is None else self.kind.decode(raw)


def optional(kind: Kind) -> Kind:
    """`kind` or None; a None is not sent where it is the field's default."""
    return _Optional(kind)


@dataclasses.dataclass(frozen=True, slots=True)
class _Many:
    kind: Kind
    limit: int

    def encode(self, value: Iterable[Any]) -> list[Any]:
        return [self.kind.encode(item) for item in value]

    def decode(self, raw: Any) -> tuple[Any, ...]:
        if type(raw) is not list:
            raise Malformed("expected a list")
        if len(raw) > self.limit:
            raise TooLarge(f"a list of {len(raw)}, at most {self.limit} allowed")
        decode = self.kind.decode
        return tuple([decode(item) for item in raw])


def many(kind: Kind, limit: int) -> Kind:
    """A tuple of at most `limit` values."""
    return _Many(kind, limit)


@dataclasses.dataclass(frozen=True, slots=True)
class _Row:
    kinds: tuple[Kind, ...]

    def encode(self, value: Iterable[Any]) -> list[Any]:
        return [kind.encode(item) for kind, item in zip(self.kinds, value, strict=True)]

    def decode(self, raw: Any) -> tuple[Any, ...]:
        if type(raw) is not list or len(raw) != len(self.kinds):
            raise Malformed(f"expected a row of {len(self.kinds)}")
        return tuple([kind.decode(item) for kind, item in zip(self.kinds, raw, strict=True)])


def row(*kinds: Kind) -> Kind:
    """A tuple of fixed length, one kind a place."""
    return _Row(kinds)


@dataclasses.dataclass(frozen=True, slots=True)
class _Nested:
    cls: type[Any]

    def encode(self, value: Any) -> Any:
        return _to_map(value)

    def decode(self, raw: Any) -> Any:
        return _from_map(self.cls, raw)


def nested(cls: type[Any]) -> Kind:
    """Another message, in place."""
    return _Nested(cls)


_NUMBER, _KIND = "number", "kind"


def wire(number: int, kind: Kind, *, default: Any = dataclasses.MISSING) -> Any:
    """Declare a field: its number on the wire (1 to 23 take one byte) and its kind. A value equal to `default` isn't
    sent."""
    metadata = {_NUMBER: number, _KIND: kind}
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True, slots=True)
class _Plan:
    """What the codec knows of one message class."""

    tag: int | None
    fields: tuple[tuple[int, str, Kind, Any], ...]


_plans: dict[type[Any], _Plan] = {}


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(wire,))
def message(cls: type[M] | None = None, *, tag: int | None = None) -> Any:
    """Make `cls` a message: a frozen, keyword-only dataclass that `encode` and `decode` know. `tag` is its kind in a
    union. That it is frozen only the type checker sees to: at run time that would make it three times as slow."""

    def declare(cls: type[M]) -> type[M]:
        made = dataclasses.dataclass(unsafe_hash=True, slots=True, kw_only=True)(cls)
        fields = [
            (field.metadata[_NUMBER], field.name, field.metadata[_KIND], field.default)
            for field in dataclasses.fields(made)  # type: ignore[arg-type]
        ]
        fields.sort(key=lambda entry: entry[0])
        _plans[made] = _Plan(tag, tuple(fields))
        return made

    return declare if cls is None else declare(cls)


def _to_map(value: Any) -> dict[int, Any]:
    plan = _plans[type(value)]
    out: dict[int, Any] = {} if plan.tag is None else {0: plan.tag}
    for number, name, kind, default in plan.fields:
        item = getattr(value, name)
        if default is dataclasses.MISSING or item != default:
            out[number] = kind.encode(item)
    return out


def _from_map(cls: type[M], raw: Any) -> M:
    if type(raw) is not dict:
        raise Malformed(f"{cls.__name__}: expected a map")
    for key in raw:
        if type(key) is not int:  # true and 1.0 would pass for field 1
            raise Malformed(f"{cls.__name__}: a field is numbered by something other than an integer")
    values = {}
    for number, name, kind, default in _plans[cls].fields:
        if number in raw:
            try:
                values[name] = kind.decode(raw[number])
            except Malformed as error:
                raise type(error)(f"{cls.__name__}.{name}: {error}") from None
        elif default is dataclasses.MISSING:
            raise Malformed(f"{cls.__name__}: {name} is missing")
    return cls(**values)


def encode(value: Any) -> bytes:
    """A message as canonical CBOR."""
    return cbor2.dumps(_to_map(value))


def load(data: bytes, limit: int) -> Any:
    """CBOR of at most `limit` bytes as plain values, with tags, indefinite lengths and repeated keys refused."""
    if len(data) > limit:
        raise TooLarge(f"{len(data)} bytes, at most {limit} allowed")
    stream = io.BytesIO(data)
    try:
        raw = cbor2.load(
            stream,
            max_depth=MAX_DEPTH,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            tag_hook=_refuse_tag,
            semantic_decoders=_NO_TAGS,
        )
    except Malformed:
        raise
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        cause = error.__cause__
        raise Malformed(str(cause) if isinstance(cause, Malformed) else f"not CBOR: {error}") from None
    if stream.tell() != len(data):
        raise Malformed("bytes after the end of a message")
    return raw


def _refuse_tag(*_: Any) -> Any:
    raise Malformed("CBOR tags are not used here")


# cbor2 decodes well-known tags (dates, bignums, fractions ...) before it asks the hook: claim each of them.
_NO_TAGS: dict[int, Any] = dict.fromkeys(
    (*range(6), 25, 28, 29, 30, 35, 36, 37, 43000, 55799, 256, 258, 260, 261, 100, 1004), _refuse_tag
)


def decode(cls: type[M], data: bytes, limit: int) -> M:
    """One message from at most `limit` bytes; `Malformed` or `TooLarge` says what is wrong with them."""
    return _from_map(cls, load(data, limit))


def decode_union(classes: Iterable[type[M]], data: bytes, limit: int) -> M:
    """One message of a union, told apart by key 0."""
    raw = load(data, limit)
    tag = raw.get(0) if type(raw) is dict else None
    for cls in classes:
        if type(tag) is int and _plans[cls].tag == tag:
            return _from_map(cls, raw)
    raise Malformed("a message of an unknown kind")
