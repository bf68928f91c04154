"""A wire that is cut or bridged is noticed, whatever the contact behind it says."""

from __future__ import annotations

import pytest

from edge.devices.supervised import Loop, Supervised, channels_of, loop_of
from edge.passage import Sensed


@pytest.mark.parametrize(
    ("share", "stands"),
    [(0.0, Loop.BRIDGED), (0.5, Loop.CLOSED), (0.667, Loop.OPEN), (1.0, Loop.CUT), (float("nan"), Loop.BRIDGED)],
)
def test_four_shares_of_the_supply_are_four_ways_a_wire_stands(share: float, stands: Loop) -> None:
    assert loop_of(share) is stands


@pytest.mark.parametrize("tolerance", [0.95, 0.99, 1.0, 1.01, 1.05])
def test_resistors_of_five_percent_are_told_apart(tolerance: float) -> None:
    pull_up, behind, across = 2200.0, 2200.0 * tolerance, 2200.0 / tolerance
    assert loop_of(behind / (behind + pull_up)) is Loop.CLOSED
    assert loop_of((behind + across) / (behind + across + pull_up)) is Loop.OPEN


class Wires:
    """The wires, and what was told of them."""

    def __init__(self) -> None:
        self.share = dict.fromkeys(range(8), 0.5)
        self.gone = False
        self.told: list[Sensed] = []

    def read(self, channel: int) -> float:
        if self.gone:
            raise OSError(5, "the converter does not answer")
        return self.share[channel]


def watching(wires: Wires) -> Supervised:
    made = Supervised({"door": 0, "fire": 1, "tamper": 2}, wires.read, wires.told.append)
    made.close()  # the test looks by itself
    return made


def test_an_open_contact_is_what_it_reports_and_no_tampering() -> None:
    wires = Wires()
    supervised = watching(wires)
    for share, said in ((0.667, [Sensed.DOOR_OPEN]), (0.667, []), (0.5, [Sensed.DOOR_CLOSED])):
        wires.told.clear()
        wires.share[0] = share
        supervised.look()
        assert wires.told == said


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_cut_or_bridged_wire_is_what_it_reports_and_tampering(share: float) -> None:
    wires = Wires()
    supervised = watching(wires)
    wires.share[1] = share
    supervised.look()
    assert wires.told == [Sensed.TAMPER, Sensed.FIRE]


def test_a_bridge_over_an_open_contact_is_tampering() -> None:
    wires = Wires()
    supervised = watching(wires)
    for share in (0.667, 0.0):
        wires.share[0] = share
        supervised.look()
    assert wires.told == [Sensed.DOOR_OPEN, Sensed.TAMPER]


def test_a_converter_that_does_not_answer_is_as_if_every_wire_were_cut() -> None:
    wires = Wires()
    supervised = watching(wires)
    wires.gone = True
    supervised.look()
    assert set(wires.told) == {Sensed.TAMPER, Sensed.DOOR_OPEN, Sensed.FIRE}


@pytest.mark.parametrize(
    "told", [("beam:1",), ("door",), ("door:8",), ("door:x",), ("door:1", "door:2"), ("door:1", "fire:1")]
)
def test_inputs_that_cannot_be_supervised_so_are_named(told: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"door|beam|fire"):
        channels_of(told)


def test_an_error_of_the_library_s_own_is_no_answer_and_ends_no_looking() -> None:
    class OfItsOwnError(Exception):
        """As lgpio has one."""

    def read(_channel: int) -> float:
        raise OfItsOwnError

    told: list[Sensed] = []
    supervised = Supervised({"fire": 1}, read, told.append)
    supervised.close()
    supervised.look()
    assert told == [Sensed.TAMPER, Sensed.FIRE]
