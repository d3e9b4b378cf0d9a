"""Hypothesis strategies for messages, drawn from the kinds that their fields declare."""

import dataclasses
import inspect
from types import ModuleType
from typing import Any

from hypothesis import strategies as st

from protocol import api, certificates, codec, commits, deltas, grants, lan_messages, login, manifests, notices, runs

MODULES: tuple[ModuleType, ...] = (
    api, certificates, commits, deltas, grants, lan_messages, login, manifests, notices, runs,
)  # fmt: skip
SMALL = 40
"""Bounds are tested at their edges elsewhere; here sizes stay small, so that many messages can be tried."""
EVERY_BYTE = st.integers(0, (1 << 20) - 1)
FLIPS = st.integers(1, 255)


def altered(data: bytes, at: int, flip: int = 1) -> bytes:
    """`data` with one byte changed, the one at `at` counted round and round."""
    at %= len(data)
    return data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]


def message_classes() -> list[type[Any]]:
    """Every message class of the protocol."""
    plans = codec._plans
    found = {cls for module in MODULES for _, cls in inspect.getmembers(module, inspect.isclass) if cls in plans}
    return sorted(found, key=lambda cls: (cls.__module__, cls.__name__))


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Values that `kind` allows."""
    if isinstance(kind, codec._Optional):
        return st.none() | values(kind.kind)
    if isinstance(kind, codec._Many):
        return st.lists(values(kind.kind), max_size=2 if isinstance(kind.kind, codec._Nested) else 4).map(tuple)
    if isinstance(kind, codec._Row):
        return st.tuples(*map(values, kind.kinds))
    if isinstance(kind, codec._Nested):
        return messages(kind.cls)
    return plain(kind)


def plain(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a kind that CBOR carries as it is; the bound is found by asking the kind."""
    if kind.check(True) or kind.check(False):
        return st.booleans()
    if kind.check(0):
        lowest, highest = -limit(kind, -1), limit(kind, 1)
        return st.integers(lowest, highest) | st.sampled_from([lowest, highest, min(24, highest)])
    if kind.check(""):
        return st.text(max_size=SMALL)
    if kind.check(b""):
        return st.binary(max_size=SMALL)
    length = next(n for n in range(1, 200) if kind.check(bytes(n)))
    return st.binary(min_size=length, max_size=length)


def limit(kind: Any, sign: int) -> int:
    """The largest number that `kind` allows, or with `sign` -1 that it allows below 0."""
    low, high = 0, 1 << 64
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (middle, high) if kind.check(sign * middle) else (low, middle)
    return low


def messages(cls: type[Any]) -> st.SearchStrategy[Any]:
    """Messages of `cls`, defaults included."""
    fields = {}
    for _, name, kind, default in codec._plans[cls].fields:
        drawn = values(kind)
        fields[name] = drawn if default is dataclasses.MISSING else st.just(default) | drawn
    return st.builds(cls, **fields)
