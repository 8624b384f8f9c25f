"""Rows of the tables: what a command does with a kind of value, for each type of option."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.options.kinds import (
    ABSENT,
    CONTRADICTION,
    EMPTY,
    HUGE,
    NAN,
    NEGATIVE,
    NO_RIGHTS,
    WRONG_KIND,
    WRONG_TYPE,
    ZERO,
    Kind,
)

LONG = "x" * 300  # longer than a file's name may be


@dataclass(frozen=True)
class Row:
    """Arguments after the table's base, and the sentence that refuses them; None: they work.

    `alone`: the arguments come without the base.
    """

    arguments: tuple[str, ...]
    sentence: str | None
    alone: bool = False


Rows = dict[Kind, Row | None]


def refused(*arguments: str, sentence: str, alone: bool = False) -> Row:
    return Row(arguments, sentence, alone)


def works(*arguments: str, alone: bool = False) -> Row:
    return Row(arguments, None, alone)


def valued(flag: str, values: Mapping[Kind, tuple[str, str | None] | Row | None]) -> Rows:
    """Rows of an option with a value: kind → (value, sentence), a row of its own, or None."""
    rows: Rows = dict.fromkeys(Kind)
    rows[ABSENT] = Row((flag,), "requires an argument")
    for kind, value in values.items():
        rows[kind] = Row((flag, value[0]), value[1]) if isinstance(value, tuple) else value
    return rows


More = tuple[str, str | None] | Row | None


def count(flag: str, more: Mapping[Kind, More] | None = None) -> Rows:
    """Rows of an option of type Count."""
    no = "whole number; write 8, 1.5k, 100M, 1e6 or 2_000_000"
    return valued(
        flag,
        {
            WRONG_TYPE: ("x", no), EMPTY: ("", no), ZERO: ("0", "'0' is less than 1"),
            NEGATIVE: ("-1", "'-1' is less than "), HUGE: ("1e30", "'1e30' is too much; give at most"),
            NAN: ("nan", no), WRONG_KIND: ("1.5", "whole number"), **(more or {}),
        },
    )  # fmt: skip


def size(flag: str, more: Mapping[Kind, More] | None = None) -> Rows:
    """Rows of an option of type Size."""
    no = "is not a size; write 200G, 1.5TB or 500MB"
    kinds = {WRONG_TYPE: "x", EMPTY: "", ZERO: "0", NEGATIVE: "-1", HUGE: "1e30", NAN: "nan", WRONG_KIND: "5GB/s"}
    return valued(flag, {**{kind: (value, no) for kind, value in kinds.items()}, **(more or {})})


def number(flag: str, more: Mapping[Kind, More] | None = None) -> Rows:
    """Rows of an option of type Number that must be greater than 0, or at least some number if `more` has a ZERO."""
    no = "is not a number; give one that is"
    low = "is less than " if ZERO in (more or {}) else "is not greater than 0"
    return valued(
        flag,
        {
            WRONG_TYPE: ("x", no), EMPTY: ("", no), ZERO: ("0", low), NEGATIVE: ("-1", f"'-1' {low}"),
            HUGE: ("1e999", "'1e999' is too much; give at most"), NAN: ("nan", no), WRONG_KIND: ("1;2", no),
            **(more or {}),
        },
    )  # fmt: skip


def list_rows(rows: Rows, flag: str, twice: str) -> Rows:
    """Rows of an option with several values, from those of one value; `twice` is a value, which may be given once."""
    return {
        **rows,
        EMPTY: Row((flag, f"{twice},,{twice}"), "has an empty part"),
        CONTRADICTION: Row((flag, f"{twice},{twice}"), f"has {twice} twice; give each once"),
    }


def choice(flag: str, more: Mapping[Kind, More] | None = None, *, unknown: str = "is not one of") -> Rows:
    """Rows of an option with a few values; `unknown` is the sentence for any other."""
    values = {
        WRONG_TYPE: "5", EMPTY: "", ZERO: "0", NEGATIVE: "-1", HUGE: LONG, NAN: "nan",
        WRONG_KIND: "AUTO",
    }  # fmt: skip
    return valued(flag, {**{kind: (value, unknown) for kind, value in values.items()}, **(more or {})})


def flag(name: str, contradiction: Row | None = None) -> Rows:
    """Rows of a flag."""
    rows: Rows = dict.fromkeys(Kind)
    for kind, value in ((WRONG_TYPE, "5"), (EMPTY, ""), (HUGE, LONG)):
        rows[kind] = Row((f"{name}={value}",), "does not take a value")
    rows[CONTRADICTION] = contradiction
    return rows


def text(flag: str, unknown: str, more: Mapping[Kind, More] | None = None) -> Rows:
    """Rows of an option of type Text, of which no value is known: `unknown` is the sentence for that."""
    return valued(
        flag,
        {
            WRONG_TYPE: ("a\0b", "the value has a zero byte"), EMPTY: ("", "the value is empty"),
            ZERO: ("0", unknown), NEGATIVE: ("-1", unknown), NAN: ("nan", unknown),
            HUGE: (LONG, "is longer than a file's name may be"), WRONG_KIND: ("{folder}/x.toml", unknown),
            **(more or {}),
        },
    )  # fmt: skip


def layers(owner: str, n: int = 2) -> Rows:
    """Rows of `--layers`, of an owner with n layers."""
    no = "give `all`, or numbers and ranges such as 0,5,8-11 or 3-"
    return valued(
        "--layers",
        {
            WRONG_TYPE: ("a", no), EMPTY: ("", no), ZERO: ("0", None), NEGATIVE: ("-1", no),
            HUGE: ("0-999999999999", f"--layers 0-999999999999: {owner} has no layer {n}"), NAN: ("nan", no),
            WRONG_KIND: ("7-", f"--layers 7-: {owner} has no layer 7"),
            CONTRADICTION: ("1-0", "1-0 is an empty range; write 0-1"),
        },
    )  # fmt: skip


def with_variant(variant: str, rows: Rows, *others: str) -> Rows:
    """Rows of a setting that this variant has, with other options."""
    more = ("--variant", variant, *others)
    return {
        kind: None if row is None else Row((*more, *row.arguments), row.sentence, row.alone)
        for kind, row in rows.items()
    }


def truth(flag: str) -> Rows:
    """Rows of an option whose value is true or false."""
    no = "is neither true nor false; write true or false"
    values = {WRONG_TYPE: "x", EMPTY: "", NEGATIVE: "-1", HUGE: LONG, NAN: "nan", WRONG_KIND: "{folder}"}
    return valued(flag, {**{kind: (value, no) for kind, value in values.items()}, ZERO: ("0", None)})


def cache() -> dict[str, Rows]:
    """Rows of `--cache` and `--cache-size` of a command whose base has a store on a disk."""
    no = "--cache: has no effect on {store}, which is on a disk; leave it out"
    alone = "--cache-size: has no effect without --cache; leave it out, or give a folder"
    return {
        "cache": valued("--cache", {
            WRONG_TYPE: ("s3://bucket/x", "is an address; give a local path"), EMPTY: ("", "the value is empty"),
            ZERO: ("0", no), NEGATIVE: ("-1", no), HUGE: (LONG, "is longer than a file's name may be"),
            NAN: ("nan", no), WRONG_KIND: ("{file}", no), NO_RIGHTS: ("{file}/x", no),
        }),
        "cache_size": size("--cache-size", {CONTRADICTION: ("1M", alone)}),
    }  # fmt: skip
