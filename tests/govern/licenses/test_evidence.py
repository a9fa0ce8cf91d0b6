"""Names of licence files, and how far each reaches."""

from __future__ import annotations

import pytest

from stackwright.govern.licenses import governed_folder, is_license_file
from stackwright.sources.notices import is_prose_name


@pytest.mark.parametrize(
    "path",
    [
        "LICENSE", "LICENCE.md", "license.txt", "LICENSE-MIT", "MIT-LICENSE", "LICENSE.APACHE", "licenses/LICENSE.numpy",
        "COPYING", "COPYING.LESSER", "GPL-3.0.txt", "lib/NOTICE",
        "UNLICENSE", "debian/copyright", "third-party-licenses.rst",
        "LEGAL.md", "EULA.txt", "README.md", "docs/about.html", "LICENSES/BSL-1.0.txt", "LICENSES/MIT.txt",
        "PATENTS",
    ],
)  # fmt: skip
def test_a_name_that_says_licence_is_that_of_a_licence_file(path: str) -> None:
    assert is_license_file(path)


@pytest.mark.parametrize(
    "path",
    [
        "license.py", "src/mit.c", "legal.js", "bsd.h", "copyright.go", "licensee.txt", "limit.txt", "submit.md",
        "main.py", "AUTHORS", "notice.swift", "gpl_compat.rb", "BSL-1.0.txt", "mit.edu", "LICENSE.png",
        "license/main.c", "licenses/setup.py",
    ],
)  # fmt: skip
def test_other_names_are_not(path: str) -> None:
    assert not is_license_file(path)


def test_a_readme_is_prose_and_a_licence_about_something_is_not() -> None:
    assert is_prose_name("README.rst")
    assert is_prose_name("docs/about.md")
    assert not is_prose_name("LICENSE.about")


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("LICENSE", ""),
        ("lib/LICENSE", "lib/"),
        ("a/b/COPYING", "a/b/"),
        ("node_modules/left-pad/LICENSE", "node_modules/left-pad/"),
        ("pkg-1.0.dist-info/LICENSE", ""),
        ("pkg-1.0.dist-info/licenses/LICENSE", ""),
        ("pkg-1.0.dist-info/licenses/src/vendor/LICENSE", "src/vendor/"),
        ("pkg.egg-info/LICENSE", ""),
        ("third/pkg-1.0.dist-info/LICENSE", "third/"),
        ("debian/copyright", ""),
        ("jar/META-INF/LICENSE.txt", "jar/"),
        ("LICENSES/MIT.txt", "LICENSES/"),
    ],
)
def test_a_licence_file_governs_the_folder_it_stands_for(path: str, folder: str) -> None:
    assert governed_folder(path) == folder
