from __future__ import annotations

import gc
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.biometric.liveness import Cue
from edge.biometric.template import quantised
from edge.biometric.values import Hint, ModelSet, Picture, Probe, ProbeQuality, ReferenceKind, Task, Template
from edge.errors import DeviceError, Reason, Refusal
from edge.vision.faces import FaceReader
from edge.vision.following import Search
from edge.vision.frames import BgrShot, Frame, Pixels
from edge.vision.models import AttackDetector, Box, Face, MotionDetector, Vector
from edge.vision.quality import sharpness_of, turned
from edge.vision.simulated import PaintDetector, PaintEmbedder, PaintSessions, paint

WANTED = ProbeQuality()
Who = tuple[int, tuple[int, int], int]


def frame(*people: Who, light: float = 1.0, blur: float = 0.0, number: int = 1) -> Frame:
    picture = np.full((720, 1280, 3), 110, np.uint8)
    for who, centre, eyes_px in people:
        paint(picture, who, centre, eyes_px, light)
    if blur:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), blur), np.uint8)
    return Frame(number, number / 30, BgrShot(picture))


def card(who: int, side: int = 96, form: str = ".png") -> Picture:
    picture = np.full((side, side, 3), 110, np.uint8)
    paint(picture, who, (side // 2, round(side * 0.46)), round(side * 0.36))
    return Picture(cv2.imencode(form, picture)[1].tobytes())


def probe(faces: FaceReader, *frames: Frame, wanted: ProbeQuality = WANTED) -> Probe:
    """The probe that these frames give, or the refusal when they are over."""
    search = faces.search(wanted)
    for one in frames:
        if (found := search.look(one)) is not None:
            return found
    raise search.refusal()


def refused(*frames: Frame) -> Refusal:
    with pytest.raises(Refusal) as caught:
        probe(FaceReader(PaintSessions()), *frames)
    return caught.value


def test_one_whole_face_gives_a_probe() -> None:
    seen = probe(FaceReader(PaintSessions()), frame((1, (640, 300), 90), number=7))
    assert seen.frame == 7
    assert seen.eyes_px == pytest.approx(90, abs=3)
    assert seen.sharpness > WANTED.sharpness
    assert WANTED.brightness[0] < seen.brightness < WANTED.brightness[1]
    assert seen.bona_fide is None
    assert {"detect", "embed"} <= set(seen.took_us)


def test_the_same_person_scores_one_and_another_zero() -> None:
    faces = FaceReader(PaintSessions())
    seen = probe(faces, frame((1, (640, 300), 90)))
    same, other = faces.compare(card(1), seen.number), faces.compare(card(2), seen.number)
    assert same.score == pytest.approx(1.0)
    assert other.score == pytest.approx(0.0)
    assert (same.probe, same.model) == (seen.number, "paint-1")


def test_probes_have_numbers_that_are_never_used_again() -> None:
    faces = FaceReader(PaintSessions())
    numbers = []
    for _ in range(3):
        numbers.append(probe(faces, frame((1, (640, 300), 90))).number)
        faces.forget()
    numbers.append(probe(FaceReader(PaintSessions()), frame((1, (640, 300), 90))).number)
    assert len(set(numbers)) == 4


def test_nobody_is_no_probe() -> None:
    assert refused(frame(), frame()).reason is Reason.NO_PROBE
    assert refused().reason is Reason.NO_PROBE


@pytest.mark.parametrize("count", [2, 5])
def test_several_faces_are_refused_as_several(count: int) -> None:
    people = [(who, (160 + 220 * who, 300), 60) for who in range(count)]
    refusal = refused(frame(*people), frame(*people))
    assert refusal.reason is Reason.SEVERAL_FACES
    assert f"{count} faces" in refusal.detail


def test_several_faces_in_a_single_frame_of_many_do_not_hide_the_real_reason() -> None:
    two = frame((0, (300, 300), 60), (1, (900, 300), 60))
    dark = frame((0, (300, 300), 60), light=0.2)
    assert refused(dark, two, dark, dark).reason is Reason.PROBE_QUALITY


def test_when_the_second_person_steps_back_the_first_is_served() -> None:
    faces = FaceReader(PaintSessions())
    two = frame((0, (300, 300), 90), (1, (900, 300), 90), number=1)
    assert probe(faces, two, two, frame((0, (300, 300), 90), number=2)).frame == 2


def test_the_small_portrait_on_a_card_in_the_hand_does_not_count() -> None:
    faces = FaceReader(PaintSessions())
    seen = probe(faces, frame((3, (640, 300), 120), (1, (1000, 500), 36)))
    assert faces.compare(card(3), seen.number).score == pytest.approx(1.0)


def test_the_face_nearest_to_the_camera_is_the_one_looked_at() -> None:
    faces = FaceReader(PaintSessions())
    seen = probe(faces, frame((1, (200, 300), 40), (2, (800, 300), 120)))
    assert faces.compare(card(2), seen.number).score == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("shown", "what"),
    [
        (frame((1, (640, 300), 36)), "36 px apart"),
        (frame((1, (640, 300), 90), light=0.15), "too dark"),
        (frame((1, (640, 300), 90), light=9.0), "too bright"),
        (frame((1, (640, 300), 90), blur=9.0), "not sharp"),
        (frame((1, (60, 300), 90)), "cut off"),
    ],
)
def test_a_poor_face_is_refused_with_what_is_wrong(shown: Frame, what: str) -> None:
    refusal = refused(shown)
    assert refusal.reason is Reason.PROBE_QUALITY
    assert what in refusal.detail


def test_a_dark_face_is_as_sharp_as_a_fair_one_under_the_same_lens() -> None:
    """Edges are weaker where less light comes back; ``hold still`` would be no help to anybody."""
    fair, dark = (framed_face(light) for light in (1.0, 0.4))
    assert float(cv2.Laplacian(dark, cv2.CV_32F).var()) < 0.3 * float(cv2.Laplacian(fair, cv2.CV_32F).var())
    assert 0.7 < sharpness_of(dark) / sharpness_of(fair) < 1.5


def framed_face(light: float) -> Any:
    """A face of smooth edges whose mean luma is 128 in full light."""
    rows, columns = np.mgrid[0:112, 0:112]
    return np.asarray((128 + 40 * np.sin(rows / 3) * np.sin(columns / 4)) * light, np.uint8)


def test_somebody_far_away_is_nobody() -> None:
    assert refused(frame((1, (640, 300), 14))).reason is Reason.NO_PROBE


def test_a_face_that_leaves_midway_is_told_by_what_was_seen_of_it() -> None:
    assert refused(frame((1, (640, 300), 36)), frame(), frame()).reason is Reason.PROBE_QUALITY


@pytest.mark.parametrize("level", [0, 255])
def test_black_and_white_frames_hold_nobody(level: int) -> None:
    flat = Frame(1, 0.0, BgrShot(np.full((720, 1280, 3), level, np.uint8)))
    assert refused(flat).reason is Reason.NO_PROBE


@pytest.mark.parametrize(
    ("side", "kind"), [(48, ReferenceKind.SMALL), (95, ReferenceKind.SMALL), (96, ReferenceKind.FULL)]
)
def test_small_and_full_references_are_told_apart(side: int, kind: ReferenceKind) -> None:
    faces = FaceReader(PaintSessions())
    seen = probe(faces, frame((1, (640, 300), 90)))
    comparison = faces.compare(card(1, side), seen.number)
    assert comparison.kind is kind
    assert comparison.score == pytest.approx(1.0)


def test_a_template_of_another_model_is_refused_and_says_so() -> None:
    faces = FaceReader(PaintSessions())
    seen = probe(faces, frame((1, (640, 300), 90)))
    with pytest.raises(Refusal, match="other-9") as caught:
        faces.compare(Template(bytes(32), "other-9"), seen.number)
    assert caught.value.reason is Reason.REFERENCE_UNUSABLE


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_a_template_in_the_card_is_compared_without_any_picture(bits: int) -> None:
    faces = FaceReader(PaintSessions(embedder=Drifting()))
    seen = probe(faces, frame((1, (640, 300), 90)))
    same, other = faces._templates[seen.number], np.roll(faces._templates[seen.number], 1)
    scores = []
    for vector in (same, other):
        comparison = faces.compare(Template(quantised(vector, bits), "paint-1"), seen.number)
        assert comparison.kind is ReferenceKind.TEMPLATE
        scores.append(comparison.score)
    assert scores[0] > scores[1]


def test_a_template_that_is_none_is_refused() -> None:
    faces = FaceReader(PaintSessions())
    seen = probe(faces, frame((1, (640, 300), 90)))
    for data in (b"", bytes(7), bytes(5000)):
        with pytest.raises(Refusal) as caught:
            faces.compare(Template(data, "paint-1"), seen.number)
        assert caught.value.reason is Reason.REFERENCE_UNUSABLE


def test_a_picture_without_a_face_is_unusable() -> None:
    faces = FaceReader(PaintSessions())
    seen = probe(faces, frame((1, (640, 300), 90)))
    wall = np.random.default_rng(0).integers(0, 255, (120, 200, 3), np.uint8)
    flat = np.full((64, 64, 3), 128, np.uint8)
    pair = np.full((200, 400, 3), 110, np.uint8)
    paint(pair, 1, (100, 100), 50)
    paint(pair, 2, (300, 100), 50)
    tiny = np.full((96, 96, 3), 110, np.uint8)
    paint(tiny, 1, (48, 44), 8)
    for picture in (wall, flat, pair, tiny):
        with pytest.raises(Refusal) as caught:
            faces.compare(Picture(cv2.imencode(".png", picture)[1].tobytes()), seen.number)
        assert caught.value.reason is Reason.REFERENCE_UNUSABLE


class Blind(PaintDetector):
    """Sees faces in frames, but not in the small pictures of cards."""

    def detect(self, image: Pixels) -> list[Any]:
        return super().detect(image) if image.shape[0] == 720 else []


def test_an_aligned_crop_is_compared_even_where_the_detector_finds_nothing() -> None:
    faces = FaceReader(PaintSessions(detector=Blind()))
    seen = probe(faces, frame((1, (640, 300), 90)))
    assert faces.compare(card(1, 64), seen.number).score == pytest.approx(1.0)
    with pytest.raises(Refusal):
        faces.compare(card(1, 200), seen.number)


def test_after_forgetting_a_probe_is_unknown() -> None:
    faces = FaceReader(PaintSessions())
    seen = probe(faces, frame((1, (640, 300), 90)))
    faces.forget()
    with pytest.raises(DeviceError, match="does not know this probe"):
        faces.compare(card(1), seen.number)


class Remembering(PaintEmbedder):
    """Notes what it gave away, weakly."""

    def __init__(self) -> None:
        self.given: list[weakref.ref[NDArray[np.float32]]] = []

    def embed(self, image: Pixels, landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
        vector = super().embed(image, landmarks)
        self.given.append(weakref.ref(vector))
        return vector


def test_no_pixel_and_no_template_outlives_the_visit() -> None:
    embedder = Remembering()
    faces = FaceReader(PaintSessions(embedder=embedder))
    shown = frame((1, (640, 300), 90))
    pixels = [weakref.ref(shown.bgr), weakref.ref(shown.y)]
    seen = probe(faces, shown)
    faces.compare(card(1), seen.number)
    faces.forget()
    del shown
    gc.collect()
    assert [held() for held in pixels] == [None, None]
    assert [held() for held in embedder.given] == [None, None]


def test_a_model_that_fails_is_a_device_error_without_quoting_it() -> None:
    class Broken(PaintDetector):
        def detect(self, image: Pixels) -> list[Any]:
            raise RuntimeError("tensor of somebody's face")

    with pytest.raises(DeviceError, match="RuntimeError") as caught:
        probe(FaceReader(PaintSessions(detector=Broken())), frame())
    assert caught.value.device == "models"
    assert "somebody" not in str(caught.value)


class Scores:
    """A detector of attacks that says these scores, one a frame."""

    def __init__(self, scores: Sequence[float]) -> None:
        self.scores = iter(scores)

    def bona_fide(self, image: Pixels, box: Box) -> float:
        return next(self.scores)


@dataclass(frozen=True)
class Watchful:
    """Painted faces, and a detector of attacks."""

    attack: AttackDetector
    detector: PaintDetector = field(default_factory=PaintDetector)
    embedder: PaintEmbedder = field(default_factory=PaintEmbedder)
    motion: MotionDetector | None = None
    cues: Mapping[str, Cue] = field(default_factory=dict)
    same_face: float = 0.5
    models: ModelSet = field(default_factory=lambda: PaintSessions().models)


def person(number: int, who: int = 1, x: int = 640) -> Frame:
    return frame((who, (x, 300), 90), number=number)


def test_where_attacks_are_detected_five_frames_vote_and_one_strange_frame_does_not_decide() -> None:
    faces = FaceReader(Watchful(Scores([0.9, 0.1, 0.8, 0.85, 0.95])))
    search = faces.search(WANTED)
    assert [search.look(person(n)) for n in (1, 2, 3, 4)] == [None] * 4
    seen = search.look(person(5))
    assert seen is not None
    assert seen.bona_fide == 0.85
    assert seen.frame == 5


def test_a_photo_swapped_in_on_the_way_is_not_voted_for_by_the_face_before_it() -> None:
    """Three frames of a real person and two of somebody's photo in the same place make no probe of five."""
    faces = FaceReader(Watchful(Scores([0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1])))
    search = faces.search(WANTED)
    shown = [*(person(n, who=1) for n in (1, 2, 3)), *(person(n, who=2) for n in (4, 5, 6, 7))]
    assert [search.look(one) for one in shown] == [None] * 7
    seen = search.look(person(8, who=2))
    assert seen is not None
    assert seen.bona_fide == 0.1


def test_a_detector_of_attacks_that_fails_is_a_device_error_and_no_pass() -> None:
    with pytest.raises(DeviceError, match="StopIteration"):
        probe(FaceReader(Watchful(Scores([]))), person(1))


def test_so_near_that_the_detector_sees_no_surroundings_is_refused_where_attacks_are_detected() -> None:
    near = frame((1, (640, 350), 180))
    assert probe(FaceReader(PaintSessions()), near).eyes_px > 170
    with pytest.raises(Refusal, match="too near"):
        probe(FaceReader(Watchful(Scores([0.9] * 9))), near, near)


class Drifting(PaintEmbedder):
    """Gives a slightly different template each time, as a live face does."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.given: list[NDArray[np.float32]] = []

    def embed(self, image: Pixels, landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
        vector = super().embed(image, landmarks) + self.rng.normal(0, 0.2, 8).astype(np.float32)
        self.given.append(np.asarray(vector / np.linalg.norm(vector), np.float32))
        return self.given[-1]


def test_several_frames_make_a_better_template_than_each_of_them() -> None:
    faces = FaceReader(PaintSessions(embedder=Drifting()))
    search = faces.search(replace(WANTED, frames=5))
    seen = [search.look(person(n)) for n in range(1, 6)][-1]
    assert seen is not None
    clean = PaintEmbedder().embed(person(1).bgr, PaintDetector().detect(person(1).bgr)[0].landmarks)
    embedder = faces._sessions.embedder
    assert isinstance(embedder, Drifting)
    single = [float(vector @ clean) for vector in embedder.given]
    assert float(faces._templates[seen.number] @ clean) > sum(single) / len(single)


@pytest.mark.parametrize(
    "between",
    [
        [person(3, x=1000)],
        [person(3, who=2)],
        [frame((1, (640, 300), 90), (2, (1000, 300), 90), number=3)],
        [frame(number=n) for n in range(3, 20)],
    ],
    ids=["a jump", "another person", "a second face", "a gap"],
)
def test_who_was_not_followed_all_the_way_begins_anew(between: list[Frame]) -> None:
    search = FaceReader(PaintSessions()).search(replace(WANTED, frames=3))
    shown = [person(1), person(2), *between, person(20), person(21)]
    assert [search.look(one) for one in shown] == [None] * len(shown)
    seen = search.look(person(22))
    assert seen is not None
    assert seen.frame == 22


def test_one_blurred_frame_between_does_not_end_the_following() -> None:
    search = FaceReader(PaintSessions()).search(replace(WANTED, frames=3))
    shown = [person(1), person(2), frame((1, (640, 300), 90), blur=9.0, number=3)]
    assert [search.look(one) for one in shown] == [None] * 3
    assert search.look(person(4)) is not None


def test_a_face_that_did_not_stay_long_enough_is_told_as_such() -> None:
    search = FaceReader(PaintSessions()).search(replace(WANTED, frames=3))
    search.look(person(1))
    assert search.refusal().reason is Reason.PROBE_QUALITY


def looking(beside: float = 0.0, down: float = 0.5, roll: float = 0.0) -> NDArray[np.float32]:
    """Landmarks of a face whose nose is beside the middle of its eyes, or nearer to eyes or mouth."""
    points = np.array([(-0.5, 0), (0.5, 0), (beside, down), (-0.42, 1), (0.42, 1)]) * 100
    turn = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    return np.asarray(points @ turn + 300, np.float32)


def test_a_face_that_looks_at_the_camera_is_told_from_one_that_looks_away() -> None:
    for facing in (looking(), looking(0.2), looking(-0.2), looking(roll=0.3), looking(down=0.6), looking(down=0.4)):
        assert not turned(facing)
    for away in (
        looking(0.5),
        looking(-0.5),
        looking(down=0.1),
        looking(down=0.95),
        looking(roll=1.2),
        looking(roll=3.1),
    ):
        assert turned(away)
    assert turned(np.zeros((5, 2), np.float32))


@pytest.mark.parametrize(
    ("shown", "hint"),
    [
        (frame(), Hint.LOOK),
        (frame((1, (640, 300), 36)), Hint.CLOSER),
        (frame((1, (60, 300), 90)), Hint.MIDDLE),
        (frame((1, (640, 300), 90), light=0.15), Hint.DARK),
        (frame((1, (640, 300), 90), light=9.0), Hint.BRIGHT),
        (frame((1, (640, 300), 90), blur=9.0), Hint.STILL),
        (frame((0, (300, 300), 60), (1, (900, 300), 60)), Hint.ALONE),
        (frame((1, (640, 300), 90)), None),
    ],
)
def test_each_fault_has_a_hint_that_helps(shown: Frame, hint: Hint | None) -> None:
    search = FaceReader(PaintSessions()).search(WANTED)
    search.look(shown)
    assert search.hint is hint


def test_the_twin_and_the_real_models_answer_the_same_calls() -> None:
    # The type checker is the judge here: both stand where Sessions is asked for.
    def accepts(detector: Sequence[Face], search: type[Search]) -> None: ...

    accepts(PaintDetector().detect(frame().bgr), Search)


class Acted:
    """Sees yaw, pitch and open eyes as told, one a frame; the last for ever."""

    def __init__(self, *poses: tuple[float, float, float]) -> None:
        self.poses = list(poses)
        self.now = self.poses[0]

    def pose(self, image: Pixels, box: Box) -> tuple[float, float]:
        self.now = self.poses.pop(0) if len(self.poses) > 1 else self.poses[0]
        return self.now[:2]

    def eyes_open(self, image: Pixels, landmarks: Vector) -> float:
        return self.now[2]


ASKED = replace(WANTED, tasks=(Task.TURN_LEFT,))
AHEAD, TO_THE_LEFT, TO_THE_RIGHT = (0.0, 0.0, 1.0), (25.0, 0.0, 1.0), (-25.0, 0.0, 1.0)


def asked(*poses: tuple[float, float, float], tasks: tuple[Task, ...] = (Task.TURN_LEFT,)) -> Search:
    faces = FaceReader(Watchful(Scores([0.9] * 40), motion=Acted(*poses)))
    return faces.search(replace(WANTED, tasks=tasks, attack_frames=2))


def test_who_turns_as_asked_gives_a_probe_that_says_so() -> None:
    search = asked(AHEAD, AHEAD, TO_THE_LEFT)
    found = [search.look(person(n)) for n in range(1, 7)]
    assert found[:5] == [None] * 5
    assert found[5] is not None
    assert found[5].tasks == 1


def test_what_is_asked_is_told_at_once() -> None:
    search = asked(AHEAD)
    search.look(person(1))
    assert search.hint is Hint.TURN_LEFT


def test_who_does_nothing_is_told_so_when_time_is_over() -> None:
    search = asked(AHEAD)
    assert [search.look(person(n)) for n in range(1, 30)] == [None] * 29
    refusal = search.refusal()
    assert refusal.reason is Reason.TASK_NOT_DONE
    assert refusal.detail == "turn-left, after 0 done"


def test_turning_the_other_way_is_forgiven_once() -> None:
    search = asked(AHEAD, TO_THE_RIGHT, AHEAD, TO_THE_LEFT)
    assert any(search.look(person(n)) for n in range(1, 10))
    search = asked(AHEAD, TO_THE_RIGHT, AHEAD, TO_THE_RIGHT)
    with pytest.raises(Refusal) as caught:
        for n in range(1, 10):
            search.look(person(n))
    assert caught.value.reason is Reason.TASK_NOT_DONE


def test_somebody_else_who_steps_in_after_the_task_has_to_do_it_too() -> None:
    search = asked(AHEAD, TO_THE_LEFT)
    shown = [person(1), person(2), person(3), *(person(n, who=2) for n in range(4, 12))]
    assert [search.look(one) for one in shown] == [None] * 11
    assert search.refusal().reason is Reason.TASK_NOT_DONE


def test_a_second_face_during_the_task_begins_everything_anew() -> None:
    search = asked(AHEAD, AHEAD, TO_THE_LEFT)
    search.look(person(1))
    search.look(frame((1, (640, 300), 90), (2, (900, 300), 90), number=2))
    hints = [search.hint]
    search.look(person(3))
    assert [*hints, search.hint] == [Hint.ALONE, Hint.TURN_LEFT]


def test_a_set_that_cannot_see_tasks_fails_rather_than_pass() -> None:
    with pytest.raises(DeviceError, match="cannot see whether tasks are done"):
        FaceReader(PaintSessions()).search(ASKED)


def test_a_screen_s_pattern_turns_a_sure_person_into_an_attack() -> None:
    told = {"moire": Cue(neutral=1.3, weight=-6.0, limit=4.0, trust=0.0)}
    search = FaceReader(Watchful(Scores([0.9] * 9), cues=told)).search(replace(WANTED, attack_frames=2))
    y, x = np.mgrid[:720, :1280]
    grid = 12 * np.sin(1.9 * x + 0.23 * y) + 12 * np.sin(2.1 * y)
    shown = []
    for number in (1, 2):
        lit = np.clip(person(number).bgr + grid[..., None], 0, 255).astype(np.uint8)
        shown.append(search.look(Frame(number, number / 30, BgrShot(lit))))
    assert shown[1] is not None
    assert shown[1].bona_fide is not None
    assert shown[1].bona_fide < 0.5


def test_of_a_card_with_both_the_template_of_this_model_is_compared_and_else_the_photo() -> None:
    faces = FaceReader(PaintSessions())
    number = probe(faces, frame((1, (640, 300), 90))).number
    vector = np.zeros(8, np.float32)
    vector[1] = 1.0
    ours = Template(quantised(vector, 8), "paint-1", card(2))
    assert faces.compare(ours, number).kind is ReferenceKind.TEMPLATE
    assert faces.compare(ours, number).score > 0.9
    foreign = faces.compare(Template(b"anything", "arcface 1.0", card(1)), number)
    assert foreign.kind is ReferenceKind.FULL
    assert foreign.score > 0.9
    with pytest.raises(Refusal, match=r"template of 'arcface 1\.0', this gate runs paint-1"):
        faces.compare(Template(b"anything", "arcface 1.0"), number)


class Counting(PaintEmbedder):
    """Counts the faces that it was asked about."""

    def __init__(self) -> None:
        self.asked = 0

    def embed(self, image: Pixels, landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
        self.asked += 1
        return super().embed(image, landmarks)


def test_a_reference_that_was_looked_at_while_the_face_was_awaited_is_not_looked_at_again() -> None:
    embedder = Counting()
    faces = FaceReader(PaintSessions(embedder=embedder))
    faces.prepare(card(1))
    seen = probe(faces, frame((1, (640, 300), 90)))
    asked = embedder.asked
    same = faces.compare(card(1), seen.number)
    assert same.score == pytest.approx(1.0)
    assert embedder.asked == asked
    assert "prepare" in same.took_us


def test_another_reference_than_was_prepared_is_compared_by_its_own_face() -> None:
    faces = FaceReader(PaintSessions())
    faces.prepare(card(1))
    seen = probe(faces, frame((1, (640, 300), 90)))
    assert faces.compare(card(2), seen.number).score == pytest.approx(0.0)
    assert faces.compare(card(1), seen.number).score == pytest.approx(1.0)


def test_what_was_prepared_does_not_outlive_the_visit() -> None:
    faces = FaceReader(PaintSessions())
    faces.prepare(card(1))
    kept = [faces._prepared]
    assert kept[0] is not None
    vector = kept[0][1]
    faces.forget()
    kept.append(faces._prepared)
    assert kept[1] is None
    assert not vector.any()


def test_of_many_templates_the_one_of_this_model_is_compared_wherever_it_stands() -> None:
    faces = FaceReader(PaintSessions())
    number = probe(faces, frame((1, (640, 300), 90))).number
    vector = np.zeros(8, np.float32)
    vector[1] = 1.0
    others = (("older", b"nothing"), ("paint-1", quantised(vector, 8)))
    found = faces.compare(Template(b"anything", "arcface 1.0", card(2), others), number)
    assert found.kind is ReferenceKind.TEMPLATE
    assert found.score > 0.9


def test_a_picture_that_does_not_decode_hides_no_good_one_in_the_same_card() -> None:
    faces = FaceReader(PaintSessions())
    number = probe(faces, frame((1, (640, 300), 90))).number
    good = card(1).data
    assert faces.compare(Picture(good[:40], (b"\xff\xd8\xff", good)), number).score > 0.9
    with pytest.raises(Refusal) as caught:
        faces.compare(Picture(good[:40], (good[:50],)), number)
    assert caught.value.reason is Reason.REFERENCE_UNUSABLE


def test_a_template_needs_no_preparing_and_a_photo_beside_another_model_s_does() -> None:
    embedder = Counting()
    faces = FaceReader(PaintSessions(embedder=embedder))
    faces.prepare(Template(bytes(32), "paint-1", card(1)))
    assert embedder.asked == 0
    faces.prepare(Template(bytes(32), "other-9", card(1)))
    assert embedder.asked == 1
