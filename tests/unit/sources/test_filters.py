"""What is left out: patterns as git reads them, files that fpj makes nothing of,
and what is counted of both.
"""

from __future__ import annotations

import io
import subprocess
import zipfile
from pathlib import Path

import pytest

from fpj_core.errors import SourceError
from fpj_core.sources.filters import Filter, Rules, refuse_patterns
from fpj_core.sources.keys import key_from_path
from fpj_core.sources.local import LocalSource

JPEG = b"\xff\xd8\xff\xe0" + bytes(40)


def put(root: Path, *names: str, content: bytes = JPEG) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def taken(root: Path, **wanted: tuple[str, ...]) -> tuple[list[str], dict[str, int]]:
    source = LocalSource(str(root), Filter(**wanted))
    keys = [entry.key for entry in source.list()]
    assert source.problems.count == 0
    assert not any(source.leaves_out(key) for key in keys)
    assert sum(source.left_out.counts.values()) == len(source.left_out.take())
    return keys, source.left_out.document()


TREE = (
    "a.jpg",
    "b.png",
    "raw/c.jpg",
    "old/d.jpg",
    "old/keep/e.jpg",
    "2019/old/f.jpg",
    "2019/g.tif",
)
PATTERNS = [
    ["*.png"],
    ["old/"],
    ["/old"],
    ["old/**", "!old/keep/"],
    ["**/old/*.jpg"],
    ["*", "!a.jpg"],
    ["*", "!*/", "!*.tif"],
    ["[ab].*", "!b.png"],
    ["2019/*.tif", "old/keep"],
    ["\\!odd", "*.jp[g]"],
    ["old", "!old/keep/e.jpg"],
    ["old/*", "!old/keep", "old/keep/**/*"],
    ["*/", "!raw/"],
    ["/*/old/", "b.*"],
    ["[z-a]*", "[b-a]"],
    ["[[]*", "a.[!k]pg"],
    ["/*", "!/2019", "/2019/*", "!/2019/old/"],
    ["2019[!a]g.tif", "old[+-9]d.jpg"],
]


@pytest.mark.parametrize("patterns", PATTERNS)
def test_patterns_mean_what_they_mean_to_git(tmp_path: Path, patterns: list[str]) -> None:
    """Both as options and as an ignore file."""
    put(tmp_path, *TREE)
    git = ["git", "-c", "core.excludesFile=/dev/null", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / ".gitignore").write_text("\n".join(patterns))
    listed = subprocess.run(
        [*git, "ls-files", "-co", "--exclude-standard"], check=True, capture_output=True, text=True
    )
    wanted = sorted(set(listed.stdout.split()) - {".gitignore"})
    assert sorted(taken(tmp_path, exclude=tuple(patterns))[0]) == wanted
    (tmp_path / ".fpjignore").write_text("\n".join(patterns))
    assert sorted(taken(tmp_path)[0]) == wanted


def test_excluded_images_are_counted_and_excluded_folders_are_not_entered(tmp_path: Path) -> None:
    put(put(tmp_path, *TREE), "notes.txt", content=b"text")
    (tmp_path / "old" / "secret").mkdir(mode=0)
    keys, left_out = taken(tmp_path, exclude=("*.png", "*.txt", "old/"))
    assert keys == ["2019/g.tif", "a.jpg", "raw/c.jpg"]
    assert left_out == {"excluded": 1, "excludedFolder": 2}


def test_include_takes_only_what_matches_and_exclude_takes_of_that(tmp_path: Path) -> None:
    put(tmp_path, *TREE)
    assert taken(tmp_path, include=("*.jpg",), exclude=("raw/",)) == (
        ["2019/old/f.jpg", "a.jpg", "old/d.jpg", "old/keep/e.jpg"],
        {"excluded": 2, "excludedFolder": 1},
    )
    assert taken(tmp_path, include=("2019/", "/b.*"))[0] == [
        "2019/g.tif",
        "2019/old/f.jpg",
        "b.png",
    ]


def test_the_nearest_ignore_file_decides_and_options_go_before_all(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "x/a.png", "x/b.jpg", "x/y/b.jpg")
    (tmp_path / ".fpjignore").write_text("*.png\n# a comment\n\n")
    (tmp_path / "x" / ".fpjignore").write_text("!a.png\n/b.jpg\r\n")
    assert taken(tmp_path)[0] == ["x/a.png", "x/y/b.jpg"]
    assert taken(tmp_path, exclude=("!b.jpg", "x/a.png"))[0] == ["x/b.jpg", "x/y/b.jpg"]
    (tmp_path / "x" / ".fpjignore").unlink()
    source = LocalSource(str(tmp_path))
    list(source.list())
    assert [entry.key for entry in source.list()] == ["x/b.jpg", "x/y/b.jpg"], (
        "of the latest listing"
    )


def test_members_of_archives_are_matched_as_if_archives_were_folders(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in ("1.jpg", "extra/2.jpg", "3.cr2"):
            archive.writestr(name, JPEG)
    put(tmp_path, "a.cbz", "b.zip", content=packed.getvalue())
    (tmp_path / ".fpjignore").write_text("a.cbz/extra/")
    assert taken(tmp_path, exclude=("*.zip",)) == (["a.cbz!/1.jpg"], {"excluded": 2, "raw": 1})


def test_what_is_excluded_is_no_trouble_either(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg")
    (tmp_path / "dangling.jpg").symlink_to("nothing")
    put(tmp_path, "broken.zip", content=b"no archive")
    assert taken(tmp_path, exclude=("dangling.jpg", "*.zip")) == (["a.jpg"], {"excluded": 2})


def test_names_that_keys_escape_are_matched_as_they_are(tmp_path: Path) -> None:
    put(tmp_path, "wow!/a.jpg", "back\\slash.jpg", "caf\udce9.jpg", "é.jpg")
    assert taken(tmp_path, exclude=("wow!/", "back\\\\slash.jpg", "é.jpg"))[0] == [
        key_from_path("caf\udce9.jpg")
    ]


def test_what_fpj_makes_nothing_of_is_counted_by_kind(tmp_path: Path) -> None:
    put(
        tmp_path,
        "a.jpg",
        "b.CR2",
        "b.nef",
        "c.arw",
        "d.DNG",
        "e.psd",
        "f.mp4",
        "g.MOV",
        "x.raw/h.jpg",
    )
    outside = tmp_path.with_name(f"{tmp_path.name}-outside")
    put(outside, "secret.jpg")
    (tmp_path / "link.jpg").symlink_to(outside / "secret.jpg")
    (tmp_path / "linked").symlink_to(outside)
    assert taken(tmp_path) == (
        ["a.jpg", "x.raw/h.jpg"],
        {"raw": 4, "photoshop": 1, "video": 2, "outwardLink": 2},
    )
    assert taken(tmp_path, exclude=("*.nef", "link*")) == (
        ["a.jpg", "x.raw/h.jpg"],
        {"excluded": 2, "raw": 3, "photoshop": 1, "video": 2},
    )


@pytest.mark.parametrize("content", [b"***/a/!\n!\n", b"x" * (2**20 + 1)])
def test_an_ignore_file_that_cannot_be_followed_ends_the_listing(
    tmp_path: Path, content: bytes
) -> None:
    put(tmp_path, ".fpjignore", content=content)
    with pytest.raises(SourceError, match=r"\.fpjignore"):
        list(LocalSource(str(tmp_path)).list())


def test_an_ignore_file_outside_the_source_is_not_read(tmp_path: Path) -> None:
    put(tmp_path / "photos", "a.jpg")
    (tmp_path / "secret").write_text("!\n")
    (tmp_path / "photos" / ".fpjignore").symlink_to(tmp_path / "secret")
    with pytest.raises(SourceError, match="leaves the source"):
        list(LocalSource(str(tmp_path / "photos")).list())


def test_a_folder_whose_ignore_file_cannot_be_followed_is_a_trouble(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "x/b.jpg")
    (tmp_path / "x" / ".fpjignore").write_text("!\n")
    source = LocalSource(str(tmp_path))
    assert [entry.key for entry in source.list()] == ["a.jpg"]
    assert [(each.key, each.message) for each in source.problems.first] == [
        ("x", ".fpjignore, line 1: '!' is not a pattern")
    ]


@pytest.mark.parametrize("pattern", ["", "  ", "#x", "!", "a\nb", "/"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="is not a pattern"):
        refuse_patterns(["*.jpg", pattern])


def test_a_key_is_left_out_with_its_folders() -> None:
    rules = Rules(Filter(exclude=("old/", "!keep.jpg")))
    assert rules.excludes_key("old/a/keep.jpg") and rules.excludes_key("x/old/b.zip!/c.jpg")
    assert not rules.excludes_key("keep.jpg") and not rules.excludes_key("old")
