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
            "Apache-2.0 OR BSD-3-Clause",
        ),
        ("Under either of\n\n* Apache License 2.0 (see a)\n* MIT license (see b)\n\nat your option.", "Apache-2.0 OR MIT"),
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
