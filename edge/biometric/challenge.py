"""Something that a picture cannot do: turn, nod, blink or come closer when asked.

Rules:

1. Tasks are drawn at random for each visit, no two alike, so that a film of one visit does not serve for the next.
2. A task is answered by a change against how the person looked when it was asked, never by a pose alone: somebody who
   stands askew has not turned.
3. Turning the other way is a mistake. One is forgiven, since people mix up right and left; the second ends the visit.
4. Between two tasks the head comes back to where it was at first, and only then the next is asked: coming back from a
   turn is no turn, and no nod.
5. A blink is eyes that were open, were closed and are open again within a second. Where the eyes were not seen open
   (glasses, narrow eyes), or no blink is seen for some seconds, another task is asked for instead, so that nobody is
   kept out by their face.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge.biometric.values import Hint, Task

TURN_DEG = 15.0
NOD_DEG = 12.0
CLOSER = 1.25  # times the distance between the eyes
OPEN, CLOSED = 0.6, 0.3  # probability that the eyes are open
BLINK_S = 1.0
BLINK_WAIT_S = 4.0
FORGIVEN = 1
AHEAD_DEG = 10.0  # from how the head was held at first
HINTS = {
    Task.TURN_RIGHT: Hint.TURN_RIGHT,
    Task.TURN_LEFT: Hint.TURN_LEFT,
    Task.NOD: Hint.NOD,
    Task.BLINK: Hint.BLINK,
    Task.CLOSER: Hint.CLOSER,
}


def drawn(count: int, sample: Callable[[list[Task], int], list[Task]]) -> tuple[Task, ...]:
    """So many different tasks; ``sample`` draws them, and should be the system's random numbers'."""
    return tuple(sample(list(Task), min(count, len(Task))))


@dataclass(frozen=True)
class Pose:
    """How a face looks in one frame.

    Attributes:
        at: seconds on the monotonic clock.
        yaw: degrees, positive to the person's left.
        pitch: degrees.
        eyes_open: probability.
        eyes_px: distance between the eyes, pixels.
    """

    at: float
    yaw: float
    pitch: float
    eyes_open: float
    eyes_px: float


class Challenge:
    """Follows one face through its tasks."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = list(tasks)
        self._asked: list[Pose] = []
        self._rest: Pose | None = None
        self._away = False  # the head is not back yet
        self._erred = False  # the mistake of now was counted
        self.done = 0
        self.mistakes = 0

    @property
    def task(self) -> Task | None:
        """What is asked now; None when all is done."""
        return self._tasks[self.done] if self.done < len(self._tasks) else None

    @property
    def hint(self) -> Hint | None:
        """What the person is told."""
        if self._away:
            return Hint.LOOK
        return None if self.task is None else HINTS[self.task]

    @property
    def failed(self) -> bool:
        """Whether too much else was done than asked."""
        return self.mistakes > FORGIVEN

    def see(self, pose: Pose) -> None:
        """One more frame of this face."""
        if self.task is None:
            return
        self._rest = self._rest or pose
        self._away = not self._asked and not ahead(self._rest, pose)
        if self._away:
            return
        if self.task is Task.BLINK and self._cannot_blink(pose):
            self._tasks[self.done] = self._instead()
            self._asked.clear()
        self._asked.append(pose)
        if answered(self.task, self._asked):
            self.done += 1
            self._asked.clear()
            self._erred = False
            return
        wrong = opposite(self.task, self._asked[0], pose)
        self.mistakes += wrong and not self._erred
        self._erred = wrong

    def _cannot_blink(self, pose: Pose) -> bool:
        """Whether these eyes are not seen open, or not seen to close."""
        if not self._asked:
            return pose.eyes_open < OPEN
        return pose.at - self._asked[0].at > BLINK_WAIT_S

    def _instead(self) -> Task:
        """A task for eyes that are not seen to be open."""
        others = (Task.NOD, Task.TURN_LEFT, Task.CLOSER, Task.TURN_RIGHT)
        return next((task for task in others if task not in self._tasks), Task.NOD)


def ahead(rest: Pose, pose: Pose) -> bool:
    """Whether the head is held as it was at first."""
    return abs(pose.yaw - rest.yaw) <= AHEAD_DEG and abs(pose.pitch - rest.pitch) <= AHEAD_DEG


def answered(task: Task, seen: Sequence[Pose]) -> bool:
    """Whether the last of these frames completes the task; the first is how the person looked when asked."""
    first, last = seen[0], seen[-1]
    match task:
        case Task.TURN_LEFT:
            return last.yaw - first.yaw >= TURN_DEG
        case Task.TURN_RIGHT:
            return first.yaw - last.yaw >= TURN_DEG
        case Task.NOD:
            pitches = [pose.pitch for pose in seen]
            return max(pitches) - min(pitches) >= NOD_DEG and abs(last.yaw - first.yaw) < TURN_DEG
        case Task.CLOSER:
            return last.eyes_px >= CLOSER * first.eyes_px
        case Task.BLINK:
            return last.eyes_open >= OPEN and _shut_within(seen)


def opposite(task: Task, first: Pose, pose: Pose) -> bool:
    """Whether the head is turned the way that was not asked for."""
    match task:
        case Task.TURN_LEFT:
            return first.yaw - pose.yaw >= TURN_DEG
        case Task.TURN_RIGHT:
            return pose.yaw - first.yaw >= TURN_DEG
        case _:
            return False


def _shut_within(seen: Sequence[Pose]) -> bool:
    """Whether the eyes were closed a moment ago, and open shortly before that."""
    recent = [pose for pose in seen if seen[-1].at - pose.at <= BLINK_S]
    shut = [number for number, pose in enumerate(recent) if pose.eyes_open <= CLOSED]
    return bool(shut) and any(pose.eyes_open >= OPEN for pose in recent[: shut[0]])
