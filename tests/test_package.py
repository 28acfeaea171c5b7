"""What somebody sees of the package who has not installed it: its page, its links, its words."""

import re
from pathlib import Path
from types import ModuleType

import pytest

import flask_backfills

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.fixture
def project():
    # Part of Python since 3.11.
    tomllib = pytest.importorskip("tomllib")
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def file_of(url, base):
    """The file of this repository that an address below its base names."""
    found = re.fullmatch(re.escape(base) + r"/(blob|raw)/main/([^#]+)(#.*)?", url)
    return found and ROOT / found[2]


def test_each_link_and_image_of_the_readme_works_on_a_package_page(project):
    base = project["urls"]["Source"]
    links = re.findall(r"(!?)\[[^\]]*\]\(([^)\s]+)\)", README)
    assert len(links) > 20
    for image, url in links:
        # Not to a heading either: those of a package page have no ids.
        assert url.startswith("https://"), f"{url} is relative, so a package page can't follow it"
        if url.startswith(base):
            file = file_of(url, base)
            assert file and file.is_file(), f"{url} is no file of the repository"
            assert ("/raw/" in url) == bool(image), url


def test_there_is_one_address_of_the_repository(project):
    base = project["urls"]["Source"]
    for name, url in project["urls"].items():
        assert url.startswith(base), name
        assert url in (base, f"{base}/issues") or file_of(url, base).is_file(), url
    # So that it can be replaced in these two files.
    for page in [*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md"), *ROOT.glob("examples/*/*.md")]:
        assert (page.name == "README.md" and page.parent == ROOT) or base not in page.read_text()


def test_the_readme_first_says_how_to_install_the_package():
    [first, *_] = re.findall(r"^ {4}(.*)$", README, re.M)
    assert first == "pip install Flask-Backfills"


def test_the_pythons_that_are_promised_are_those_that_are_tested(project):
    [minors] = re.findall(r"^for minor in ([\d ]+); do$", (ROOT / ".ci/run").read_text(), re.M)
    tested = [f"3.{minor}" for minor in minors.split()]
    named = [re.fullmatch(r".* :: (3\.\d+)", one) for one in project["classifiers"]]
    assert [one[1] for one in named if one] == tested
    assert project["requires-python"] == f">={tested[0]}"


def test_the_readme_names_every_page_and_extra_that_a_host_may_use(project):
    # What is no page of its own is a file beside the README.
    hidden = {"index", "changes", "security"}
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")} - hidden
    assert pages == set(re.findall(r"/docs/([\w-]+)\.md\)", README))
    extras = set(project["optional-dependencies"]) - {"test", "check", "docs"}
    assert all(re.search(rf"[\[,]{extra}[,\]]", README) for extra in extras)


def test_the_version_is_the_newest_of_the_changes(project):
    [newest, *_] = re.findall(r"^## (\S+), ", (ROOT / "CHANGES.md").read_text(), re.M)
    assert project["version"].partition(".dev")[0] == newest


def test_the_page_of_the_api_has_each_public_name():
    page = (ROOT / "docs/api.md").read_text()
    for name in dir(flask_backfills):
        # Not its modules, such as auth.
        if not name.startswith("_") and not isinstance(getattr(flask_backfills, name), ModuleType):
            assert f"flask_backfills.{name}\n" in page, name
