"""The table of a token's faults: each on each kind of module where it can arise, and why it cannot where it cannot."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

FAULTS = {
    "F01": "unplugged before, during and after a signature",
    "F02": "plugged in again",
    "F03": "another token of the same label",
    "F04": "signatures of half a second and of ten",
    "F05": "hangs",
    "F06": "wrong PIN: once, never twice",
    "F07": "full",
    "F08": "codes of its own",
    "F09": "asked to sign something else",
}
FILES = {"SoftHSM": "test_token.py", "OpenSC": "test_token_piv.py", "shim": "test_token_faults.py"}
AT_ONCE = "cannot arise: it signs in 50 microseconds, in the process itself; the shim before it takes its time"

TABLE: dict[tuple[str, str], tuple[str, ...]] = {
    ("F01", "SoftHSM"): ("test_an_unplugged_token_is_said_and_works_again_when_it_is_back", f"(during: {AT_ONCE})"),
    ("F01", "OpenSC"): (
        "test_a_smartcard_signs_is_pulled_out_and_put_back",
        "test_a_smartcard_that_is_pulled_out_during_a_signature_is_said_and_signs_when_it_is_back",
    ),
    ("F01", "shim"): ("test_any_error_before_in_or_after_a_signature_is_said_and_passes",),
    ("F02", "SoftHSM"): ("test_an_unplugged_token_is_said_and_works_again_when_it_is_back",),
    ("F02", "OpenSC"): ("test_a_smartcard_signs_is_pulled_out_and_put_back",),
    ("F02", "shim"): ("test_any_error_before_in_or_after_a_signature_is_said_and_passes",),
    ("F03", "SoftHSM"): (
        "test_another_token_with_the_same_label_is_refused",
        "test_two_tokens_of_one_name_need_a_serial_number",
    ),
    ("F03", "OpenSC"): ("test_a_smartcard_signs_is_pulled_out_and_put_back",),
    ("F03", "shim"): ("test_another_token_behind_the_shim_is_refused",),
    ("F04", "SoftHSM"): (f"({AT_ONCE})",),
    ("F04", "OpenSC"): (
        "test_the_gate_goes_on_during_a_slow_signature_of_a_smartcard",
        "test_a_smartcard_of_ten_seconds_is_waited_for",
    ),
    ("F04", "shim"): (
        "test_the_gate_goes_on_during_a_slow_signature",
        "test_a_signature_of_ten_seconds_is_waited_for",
        "test_a_signature_past_its_deadline_is_given_up_and_the_next_works",
    ),
    ("F05", "SoftHSM"): ("(cannot arise: there is nothing behind it that could stand still)",),
    ("F05", "OpenSC"): ("test_a_smartcard_that_hangs_is_given_up_and_works_when_it_answers_again",),
    ("F05", "shim"): ("test_a_token_that_hangs_does_not_keep_the_process_from_ending",),
    ("F06", "SoftHSM"): ("test_a_wrong_pin_is_tried_once_and_never_again_not_even_after_a_restart",),
    ("F06", "OpenSC"): ("test_a_smartcard_is_given_a_wrong_pin_once",),
    ("F06", "shim"): ("test_a_wrong_pin_reaches_the_token_once",),
    ("F07", "SoftHSM"): ("test_a_token_whose_disk_is_full_still_signs",),
    ("F07", "OpenSC"): ("test_a_smartcard_that_keeps_no_notes_is_used_without",),
    ("F07", "shim"): ("test_a_full_token_still_seals",),
    ("F08", "SoftHSM"): ("test_a_token_with_damaged_objects_is_said_and_works_when_they_are_mended",),
    ("F08", "OpenSC"): ("test_whatever_a_smartcard_answers_is_an_error_that_passes",),
    ("F08", "shim"): ("test_any_error_before_in_or_after_a_signature_is_said_and_passes",),
    ("F09", "SoftHSM"): ("test_the_token_signs_nothing_but_checkpoints_that_grow",),
    ("F09", "OpenSC"): ("test_nothing_but_a_checkpoint_reaches_a_smartcard",),
    ("F09", "shim"): ("test_nothing_but_a_checkpoint_reaches_the_token",),
}


def named_in(name: str) -> set[str]:
    tree = ast.parse(Path(__file__).with_name(name).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_fault_has_a_test_on_every_module_where_it_can_arise(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(TABLE) == {(fault, module) for fault in FAULTS for module in FILES}
    there = {module: named_in(name) for module, name in FILES.items()}
    lines, empty = [], 0
    for (fault, module), cell in TABLE.items():
        tests = [one for one in cell if one.startswith("test_")]
        assert set(tests) <= there[module], (fault, module)
        assert tests or "cannot arise" in cell[0], (fault, module)
        empty += not tests
        why = " ".join(one for one in cell if one.startswith("("))
        lines.append(f"  {fault} {FAULTS[fault]}; {module}: {len(tests)} tests {why}".rstrip())
    with capsys.disabled():
        covered = f"{len(TABLE) - empty} of {len(TABLE)} cells"
        sys.stdout.write(f"\nfaults of a token: {covered}; {empty} cannot arise\n" + "\n".join(lines) + "\n")
