"""Settings as a store records them, and as messages name them."""

from __future__ import annotations

from harvest.output.provenance import differences, read_settings

SETTINGS = {"dtype": "int8", "context_size": 32, "dataset_fingerprint": "ab", "versions": {"torch": "2.13.0"}}


def test_settings_that_differ_are_named_as_the_user_types_them() -> None:
    changed = {"dtype": "int8", "context_size": 64, "dataset_fingerprint": "cd", "versions": {"torch": "2.14.0"}}
    assert differences(SETTINGS, changed) == {
        "--context-size": (32, 64),
        "the dataset's content": ("ab", "cd"),
        "the installed torch": ("2.13.0", "2.14.0"),
    }
    assert differences(SETTINGS, SETTINGS) == {}


def test_names_of_the_first_stores_are_read_as_the_present_ones() -> None:
    first = {"--dtype": "int8", "--context-size": 32, "the dataset's content": "ab", "the installed torch": "2.13.0"}
    assert read_settings(first) == SETTINGS
    assert read_settings(SETTINGS) == SETTINGS
