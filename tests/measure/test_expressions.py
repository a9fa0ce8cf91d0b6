"""Two expressions are equal when they say the same, and only then."""

from __future__ import annotations

import pytest

from stackwright.measure.expressions import licenses_in, normal_form


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("MIT AND Apache-2.0", "apache-2.0 and mit"),
        ("MIT AND (ISC AND Zlib)", "(Zlib AND MIT) AND ISC AND MIT"),
        ("(MIT OR ISC) AND Zlib", "Zlib AND (ISC OR MIT)"),
        ("LicenseRef-Highcharts", "LicenseRef-unknown"),
        ("Apache-2.0 AND LicenseRef-Commons-Clause", "LicenseRef-unknown AND Apache-2.0"),
        ("GPL-2.0-only WITH AdditionRef-a", "GPL-2.0 WITH AdditionRef-b"),
        ("LicenseRef-See-File", "NONE"),
        ("AGPL-3.0+", "AGPL-3.0-or-later"),
        ("any text, (", "Any text, ("),
    ],
)
def test_order_repetition_nesting_spelling_and_own_names_do_not_count(one: str, other: str) -> None:
    assert normal_form(one) == normal_form(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("MIT AND Apache-2.0", "MIT OR Apache-2.0"),
        ("(MIT AND ISC) OR Zlib", "MIT AND (ISC OR Zlib)"),
        ("GPL-2.0-only", "GPL-2.0-or-later"),
        ("GPL-2.0-only", "GPL-2.0-only WITH Classpath-exception-2.0"),
        ("BSD-3-Clause", "BSD-3-Clause-Clear"),
        ("MIT", "MIT AND LicenseRef-unknown"),
        ("MIT", "NONE"),
        ("LicenseRef-Highcharts", "NONE"),
    ],
)
def test_what_changes_the_meaning_counts(one: str, other: str) -> None:
    assert normal_form(one) != normal_form(other)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("GPL-3.0-only", "GPL-3.0-or-later", True),
        ("GPL-3.0", "GPL-3.0-only OR GPL-3.0-or-later", True),
        ("EUPL-1.2", "EUPL-1.2+", True),
        ("GPL-2.0-only WITH Bootloader-exception", "GPL-2.0-or-later WITH Bootloader-exception", True),
        ("GPL-2.0-only", "GPL-3.0-or-later", False),
        ("LGPL-2.1-only", "GPL-2.1-only", False),
    ],
)
def test_any_version_leaves_out_whether_later_ones_are_meant(one: str, other: str, same: bool) -> None:
    assert (normal_form(one, any_version=True) == normal_form(other, any_version=True)) is same
    assert normal_form(one) != normal_form(other)


def test_named_licences_are_a_set_however_they_are_joined() -> None:
    assert licenses_in("MIT OR (Apache-2.0 AND MIT)") == licenses_in("Apache-2.0 AND MIT") == {"mit", "apache-2.0"}
    assert licenses_in("GPL-2.0-or-later", any_version=True) == licenses_in("GPL-2.0-only", any_version=True)
    assert licenses_in("GPL-2.0-or-later") != licenses_in("GPL-2.0-only")
    assert licenses_in("no expression (") == {"no expression ("}
