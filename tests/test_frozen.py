"""Our frozen dataclasses are those of the standard library, made in less time."""

import copy
import dataclasses
import inspect
import pickle
from dataclasses import FrozenInstanceError, dataclass, field
from typing import Any, get_type_hints

import pytest

from curier.frozen import dataclass as cheap


def declare(dataclass: Any) -> Any:
    """The same class, by either."""

    @dataclass(frozen=True, slots=True)
    class Point:
        """A point."""

        x: int
        y: int = 2
        label: str = field(default="", repr=False, compare=False)
        tags: list[str] = field(default_factory=list, hash=False)

        @property
        def sum(self) -> int:
            return self.x + self.y

    return Point


THEIRS, OURS = declare(dataclass), declare(cheap)


@cheap(frozen=True, slots=True, kw_only=True)
class Pair:
    left: object = field(default=1, kw_only=False)
    right: object = None
    more: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.right is self:
            raise ValueError("a circle")
        if isinstance(self.left, bytearray):
            object.__setattr__(self, "left", bytes(self.left))


@cheap(frozen=True, slots=True)
class Other:
    left: object = 1
    right: object = None


@dataclass(frozen=True)
class More(Pair):
    last: int = 0


@pytest.mark.parametrize("of", [THEIRS, OURS])
def test_it_is_a_dataclass(of: Any) -> None:
    one = of(1, tags=["a"])
    assert repr(one) == "declare.<locals>.Point(x=1, y=2, tags=['a'])"
    assert (one.x, one.y, one.label, one.tags, one.sum) == (1, 2, "", ["a"], 3)
    assert one == of(1, 2, "not compared", ["a"])
    assert one != of(1, 3, tags=["a"])
    assert one != (1, 2, "", ["a"])
    assert hash(one) == hash(of(1, 2, "not compared", ["not hashed"])) == hash((1, 2))
    assert of(1).tags is not of(1).tags
    assert dataclasses.replace(one, x=5) == of(5, tags=["a"])
    assert dataclasses.asdict(one) == {"x": 1, "y": 2, "label": "", "tags": ["a"]}
    assert copy.copy(one) == one
    assert copy.deepcopy(one).tags is not one.tags
    match one:
        case of(x, y):
            assert (x, y) == (1, 2)
    for name in ("x", "sum", "z") if of is OURS else ("x",):  # theirs has no words for the others
        with pytest.raises(FrozenInstanceError):
            setattr(one, name, 3)
        with pytest.raises(FrozenInstanceError):
            delattr(one, name)
    assert not hasattr(one, "__dict__")
    for wrong in ({}, {"x": 1, "z": 2}):
        with pytest.raises(TypeError):
            of(**wrong)


def test_it_is_described_alike() -> None:
    assert str(inspect.signature(OURS)) == str(inspect.signature(THEIRS))
    assert get_type_hints(OURS.__init__) == get_type_hints(THEIRS.__init__)
    assert OURS.__match_args__ == THEIRS.__match_args__
    assert OURS.__slots__ == THEIRS.__slots__
    assert str(dataclasses.fields(OURS)) == str(dataclasses.fields(THEIRS))
    assert str(OURS.__dataclass_params__.frozen) == str(THEIRS.__dataclass_params__.frozen)
    assert (OURS.__doc__, OURS.__init__.__qualname__) == (THEIRS.__doc__, THEIRS.__init__.__qualname__)


def test_what_is_named_only_comes_last_and_what_checks_itself_does() -> None:
    assert str(inspect.signature(Pair)) == (
        "(left: object = 1, *, right: object = None, more: dict[str, int] = <factory>) -> None"
    )
    with pytest.raises(TypeError):
        Pair(1, 2)  # type: ignore[call-arg]
    assert Pair(bytearray(b"x")).left == b"x"


def test_it_can_be_pickled() -> None:
    one = Pair("a", right=(1, 2), more={"b": 3})
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(one, protocol)) == one


def test_others_with_the_same_fields_are_not_equal() -> None:
    one: object = Other(1, None)
    assert one != Pair(1, right=None)
    assert Other(1) == Other(1)


def test_a_frozen_dataclass_can_be_made_of_it() -> None:
    one = More(1, right=2, last=3)
    assert (one, repr(one)) == (More(1, right=2, last=3), "More(left=1, right=2, more={}, last=3)")
    assert one != Pair(1, right=2)
