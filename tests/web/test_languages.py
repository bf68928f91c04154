"""The sentences of the kiosk."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest

import edge.web
from edge.biometric.values import Hint
from edge.errors import Reason
from edge.web.kiosk import Face, Screen
from edge.web.languages import UnknownLanguageError, handed_out, known, load

SCRIPT = {"ar": "ARABIC", "hi": "DEVANAGARI", "am": "ETHIOPIC", "en": "LATIN", "fr": "LATIN"}
CSS = (Path(edge.web.__file__).parent / "static" / "kiosk.css").read_text(encoding="utf-8")
HTML = (Path(edge.web.__file__).parent / "static" / "kiosk.html").read_text(encoding="utf-8")


def test_five_languages_are_at_hand() -> None:
    assert set(known()) == set(SCRIPT)


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.code)
@pytest.mark.parametrize("code", SCRIPT)
def test_every_reason_has_a_sentence_and_a_next_step(code: str, reason: Reason) -> None:
    (language,) = load([code])
    assert reason.code in language.reasons
    screen = Screen.ASSISTED if reason in (Reason.REFERRED, Reason.UNSEALED_TOO_LONG) else Screen.REFUSED
    saying = language.of(Face(screen, reason))
    assert saying.say.strip()
    assert saying.step.strip()


@pytest.mark.parametrize("code", SCRIPT)
def test_every_screen_has_words_in_the_script_of_the_language(code: str) -> None:
    (language,) = load([code])
    assert set(language.screens) == {screen.value for screen in Screen} | {"connecting", "welcome-dispenser"}
    assert set(language.reasons) <= {reason.code for reason in Reason}
    assert language.direction == ("rtl" if code == "ar" else "ltr")
    for saying in [*language.screens.values(), *language.reasons.values(), *language.hints.values()]:
        for letter in filter(str.isalpha, saying.say + saying.step):
            assert unicodedata.name(letter).startswith(SCRIPT[code]), saying
    assert language.pilot
    assert set(language.hints) == {hint.value for hint in Hint} - {Hint.LOOK.value}  # that is the screen's own sentence
    assert language.of(Face(Screen.LOOK, hint=Hint.LOOK)) == language.of(Face(Screen.LOOK))


@pytest.mark.parametrize("code", SCRIPT)
def test_where_something_is_handed_out_nobody_is_told_to_go_through(code: str) -> None:
    (usual,), (dispenser,) = load([code]), handed_out([code])
    face = Face(Screen.WELCOME)
    assert usual.of(face).step != dispenser.of(face).step
    assert usual.of(face).say == dispenser.of(face).say
    assert usual.of(Face(Screen.IDLE)) == dispenser.of(Face(Screen.IDLE))
    assert usual.of(Face(Screen.CLOSED)) == usual.reasons[Reason.LOCKED_DOWN.code]


@pytest.mark.parametrize("code", SCRIPT)
def test_who_is_to_show_the_card_again_is_told_to_take_it_away(code: str) -> None:
    """A card that stays in view is not read again."""
    (language,) = load([code])
    away = {"en": "away", "fr": "retirez", "ar": "إبعاد", "hi": "हटाएँ", "am": "ያንሱ"}[code]
    again = (Reason.NO_PROBE, Reason.SEVERAL_FACES, Reason.PROBE_QUALITY, Reason.PRESENTATION_ATTACK, Reason.NO_MATCH)
    for reason in (*again, Reason.TASK_NOT_DONE):
        assert away in language.reasons[reason.code].step.lower(), reason
    assert language.reasons[Reason.UNSEALED_TOO_LONG.code] == language.reasons[Reason.REFERRED.code]


def test_english_says_what_the_list_of_reasons_says() -> None:
    (english,) = load(["en"])
    for reason in Reason:
        saying = english.reasons[reason.code]
        assert f"{saying.say} {saying.step}".strip() == reason.person


def test_a_language_without_words_is_an_error_that_names_it() -> None:
    with pytest.raises(UnknownLanguageError, match="'xx'; at hand: am, ar, en, fr, hi"):
        load(["en", "xx"])
    with pytest.raises(UnknownLanguageError):
        load(["../words/en"])


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("screen", [*(screen.value for screen in Screen), "connecting"])
def test_every_screen_has_its_picture_and_a_contrast_of_seven(screen: str) -> None:
    ground, ink, accent = re.findall(
        rf'\[data-screen="{screen}"\] {{ --ground: (#\w{{6}}); --ink: (#\w{{6}}); --accent: (#\w{{6}}); }}', CSS
    )[0]
    for colour in (ink, accent):
        light, dark = sorted((luminance(ground), luminance(colour)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 7
    assert f'<svg class="{screen}"' in HTML
    assert f'[data-screen="{screen}"] .{screen}' in CSS
