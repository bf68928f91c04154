"""What is asked of a person is drawn as well as written, in every language."""

from __future__ import annotations

from importlib import resources

import pytest

from edge.biometric.challenge import HINTS
from edge.biometric.values import Task
from edge.web.kiosk import Face, Screen
from edge.web.languages import load

LANGUAGES = ("en", "fr", "ar", "hi", "am")


@pytest.mark.parametrize("task", Task)
def test_each_task_has_a_picture_that_moves_and_one_for_those_who_want_no_motion(task: Task) -> None:
    style = resources.files("edge.web").joinpath("static/kiosk.css").read_text(encoding="utf-8")
    still, moving = style.split("@media (prefers-reduced-motion: no-preference)")
    told = f'[data-hint="{HINTS[task].value}"] .features'
    assert told in still
    assert told in moving


@pytest.mark.parametrize("code", LANGUAGES)
def test_each_task_has_words_of_its_own(code: str) -> None:
    (language,) = load((code,))
    said = {language.of(Face(Screen.LOOK, hint=HINTS[task])).say for task in Task}
    assert len(said) == len(Task)
    assert language.of(Face(Screen.LOOK)).say not in said
