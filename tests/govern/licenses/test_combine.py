"""What several names and texts in one file amount to: what is offered, what holds, what only goes with another."""

from __future__ import annotations

import pytest

from stackwright.govern.licenses.combine import expression_of
from stackwright.govern.licenses.recognize import Match, recognize
from tests.govern.licenses.texts import GNU_NOTICE, license_text


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("Under a BSD license or under the GNU GPL, version 2.", "LicenseRef-BSD OR GPL-2.0-only"),
        ("License: CC-BY-3.0 or CC-BY-4.0", "CC-BY-3.0 OR CC-BY-4.0"),
        ("Dual licensed under the ISC license and MIT.", "ISC OR MIT"),
        ("Licensed under both the GPLv2 and the Apache License 2.0.", "GPL-2.0-only OR Apache-2.0"),
        ("Your choice of the Unlicense or the MIT license.", "Unlicense OR MIT"),
        (
            "Under the terms of *either* of the licenses found in LICENSE.APACHE or LICENSE.BSD.",
            "Apache-2.0 OR LicenseRef-BSD",
        ),
        ("Under either of\n\n* Apache License 2.0 (see a)\n* MIT license (see b)\n\nat your option.", "Apache-2.0 OR MIT"),
        (
            "Under the terms of any of the following licenses at your choice:\n\n* GNU General Public License Version 2 or"
            " later\n* GNU Lesser General Public License Version 2.1 or later\n* Mozilla Public License Version 1.1\n",
            "GPL-2.0-or-later OR LGPL-2.1-or-later OR MPL-1.1",
        ),
        ("Rights: Revised BSD License and/or CC BY 3.0", "BSD-3-Clause OR CC-BY-3.0"),
        ("Under 2 licenses -- choose whichever you prefer: MIT license, Unlicense.", "MIT OR Unlicense"),
        ("Released under the GPL 2.0+/LGPL 2.1+/MPL 1.1 tri-license.", "GPL-2.0-or-later OR LGPL-2.1-or-later OR MPL-1.1"),
        ("Under the GNU General Public License version 2 or 3.", "GPL-2.0-only OR GPL-3.0-only"),
        (
            "Made available under the Eclipse Public License v2.0 and Eclipse Distribution License v1.0.",
            "EPL-2.0 OR BSD-3-Clause",
        ),
    ],
)
def test_words_that_offer_a_choice(text: str, expression: str) -> None:
    assert recognize(text).expression == expression


def test_an_offer_of_names_holds_for_the_texts_that_follow() -> None:
    offer = "You can use it under a BSD license or the GPL, version 2.\n\n"
    found = recognize(offer + license_text("BSD-2-Clause") + "\n\n" + GNU_NOTICE.format(kind="", version=2))
    assert found.expression == "GPL-2.0-or-later OR BSD-2-Clause"


@pytest.mark.parametrize(
    "sentence",
    [
        "Licensed under both the MIT license (the code) and CC BY-NC 4.0 (the assets).",
        "Dual licensed: under the MIT license for code and under CC BY-NC 4.0 for documentation.",
        "Dual licensed under the MIT license for schools and under CC BY-NC 4.0 for others.",
    ],
)
def test_licences_for_different_things_are_no_choice(sentence: str) -> None:
    assert recognize(sentence).license_class == "non_free"


@pytest.mark.parametrize(
    "part",
    [
        "Some files are dual licensed under the MIT license and the GPL version 2.",
        "The hooks may be taken under the GPL version 2 or the MIT license.",
        "Modifications of these are dual licensed (MIT license and GPL version 2).",
    ],
)
def test_a_choice_for_a_part_is_none_for_the_whole(part: str) -> None:
    notice = GNU_NOTICE.format(kind="", version=2)
    found = recognize(f"{notice}\n\nThe tools are under the Apache License 2.0. {part}")
    assert found.license_class == "copyleft"


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("GNU GPL version 2, with the Classpath exception", "GPL-2.0-only WITH Classpath-exception-2.0"),
        ("under the GPL with exception for distributing bootloader", "GPL-1.0-or-later WITH Bootloader-exception"),
        (
            GNU_NOTICE.format(kind="", version=3) + "\n\nSee the GCC Runtime Library Exception, version 3.1.",
            "GPL-3.0-or-later WITH GCC-exception-3.1",
        ),
    ],
)
def test_an_exception_goes_with_its_licence(text: str, expression: str) -> None:
    assert recognize(text).expression == expression


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        (
            "Under the GPL version 2, with the following exception: it may be linked with Foo.",
            "GPL-2.0-only WITH AdditionRef-exception",
        ),
        (
            "Under the GPL version 2, with the added permission that you may link it.",
            "GPL-2.0-only WITH AdditionRef-exception",
        ),
        ("Under the MIT license, with the exception of the pictures.", "MIT"),
        ("Under the MIT license. As a special exception, the tests may be burnt.", "MIT"),
    ],
)
def test_an_exception_of_ones_own_goes_with_the_gnu_licences_only(text: str, expression: str) -> None:
    assert recognize(text).expression == expression


def test_an_old_id_of_an_exception_is_spelled_as_today() -> None:
    exception = Match("GPL-2.0-with-font-exception", "text", 9, 99, 1, 1)
    notice = Match("GPL-2.0-or-later", "reference", 0, 8, 1, 1)
    assert expression_of([exception], (), unknown=False) == "GPL-2.0-only WITH Font-exception-2.0"
    assert expression_of([notice, exception], (), unknown=False) == "GPL-2.0-or-later WITH Font-exception-2.0"


@pytest.mark.parametrize(
    ("matches", "expression"),
    [
        (("text", "OpenSSL-standalone", "text", "SSLeay-standalone"), "OpenSSL"),
        (("reference", "LGPL-3.0-or-later", "reference", "GPL-1.0-or-later"), "LGPL-3.0-or-later"),
        (("reference", "MIT", "reference", "GPL-1.0-or-later"), "MIT AND GPL-1.0-or-later"),
        (("reference", "CC-BY-NC-4.0", "reference", "LicenseRef-Non-Commercial"), "CC-BY-NC-4.0"),
        (("reference", "MIT", "reference", "LicenseRef-Non-Commercial"), "MIT AND LicenseRef-Non-Commercial"),
        (("text", "BUSL-1.1", "reference", "LicenseRef-Commercial"), "BUSL-1.1"),
        (("text", "CC-BY-4.0", "reference", "LicenseRef-public-domain"), "CC-BY-4.0"),
        (
            ("reference", "EUPL-1.2", "reference", "GPL-2.0-only", "reference", "OSL-3.0", "reference", "CECILL-2.1"),
            "EUPL-1.2",
        ),
        (("reference", "EUPL-1.2", "reference", "GPL-2.0-only"), "EUPL-1.2 AND GPL-2.0-only"),
    ],
)
def test_what_another_part_implies_is_left_out(matches: tuple[str, ...], expression: str) -> None:
    found = [Match(name, kind, at, at + 1, 1, 1) for at, (kind, name) in enumerate(zip(matches[::2], matches[1::2]))]
    assert expression_of(found, (), unknown=False) == expression


def test_the_title_of_a_changed_text_is_no_licence() -> None:
    changed = Match("LicenseRef-unknown", "changed", 9, 99, 1, 1, nearest="BSD-3-Clause")
    title = Match("BSD-3-Clause", "reference", 0, 8, 1, 1)
    other = Match("Apache-2.0", "reference", 0, 8, 1, 1)
    assert expression_of([title, changed], (), unknown=False) == "LicenseRef-unknown"
    assert expression_of([other, changed], (), unknown=False) == "Apache-2.0 AND LicenseRef-unknown"


def test_a_restriction_is_never_on_offer() -> None:
    found = recognize("Dual licensed: the MIT license for non-commercial use, or a license for research purposes.")
    assert found.license_class != "permissive"


def test_a_version_that_does_not_exist_is_not_known() -> None:
    assert recognize("Licensed under the EUPL-3.0.").license_class == "unknown"


def test_an_exception_without_its_licence_is_not_known() -> None:
    assert recognize("Under the MIT license, with the Classpath exception.").expression == "MIT AND LicenseRef-unknown"


def test_a_licence_that_is_sold_is_the_other_choice_only_where_sources_are_asked_for() -> None:
    sold = "A commercial license can be had from ACME."
    assert recognize(f"Licensed under the GPLv3. {sold}").expression == "GPL-3.0-only OR LicenseRef-Commercial"
    assert recognize(f"Licensed under the MIT license. {sold}").license_class == "non_free"


def test_the_public_domain_beside_its_dedication_says_nothing_of_its_own() -> None:
    assert recognize("Released into the public domain (CC0).").expression == "CC0-1.0"
    assert recognize("Released into the public domain.").expression == "LicenseRef-public-domain"
    text, name = Match("SAX-PD", "text", 9, 99, 1, 1), Match("LicenseRef-public-domain", "reference", 0, 8, 1, 1)
    assert expression_of([text, name], frozenset(), unknown=False) == "SAX-PD"


def test_a_name_that_begins_like_the_tag_is_the_tags() -> None:
    tag = "SPDX-License-Identifier: CC-BY-NC-3.0-DE\n\nUnder CC-BY-NC-3.0, see above."
    assert recognize(tag).expression == "CC-BY-NC-3.0-DE"


def test_a_name_without_a_version_stands_back_behind_one_with_it() -> None:
    found = recognize("Under the Eclipse Public License v2.0. The Eclipse Public License is at eclipse.org.")
    assert found.stated == "EPL-2.0"
    assert recognize("Under the\n`MPL\n1.1`_ license").stated == "MPL-1.1"


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("GNU General Public License v3.0+", "GPL-3.0-or-later"),
        ("GPLv2+", "GPL-2.0-or-later"),
        ("GPLv2", "GPL-2.0-only"),
        ("Under the GPL: https://www.gnu.org/licenses/old-licenses/gpl-2.0.html", "GPL-2.0-only"),
        ("Polyform Small Business license 1.0.0", "PolyForm-Small-Business-1.0.0"),
        ("SPDX-License-Identifier: LicenseRef-Apache2", "Apache-2.0"),
        ("Zope Public License, Version 2.1 (ZPL)", "ZPL-2.1"),
        ("MIT © Jane Doe", "MIT"),
    ],
)
def test_short_names_say_which_version(text: str, expression: str) -> None:
    assert recognize(text).expression == expression
