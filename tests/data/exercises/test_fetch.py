from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fitexp.data.exercises import fetch
from fitexp.data.exercises.fetch import fetch_movielens100k, movielens_folder
from fitexp.errors import InputError
from tests.data.exercises.made_files import official_members, packed, wheel_members
from tests.data.exercises.test_atomic import read


@pytest.fixture
def official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small zip like GroupLens', with numbers, checksum and address to fit."""
    file = tmp_path / "ml-100k.zip"
    file.write_bytes(packed(official_members()))
    for name, number in {"RATINGS": 4, "USERS": 2, "ITEMS": 3}.items():
        monkeypatch.setattr(fetch, name, number)
    monkeypatch.setattr(fetch, "MD5", hashlib.md5(file.read_bytes()).hexdigest())
    monkeypatch.setattr(fetch, "URL", file.as_uri())
    return file


def with_md5(file: Path, members: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> str:
    file.write_bytes(packed(members))
    monkeypatch.setattr(fetch, "MD5", hashlib.md5(file.read_bytes()).hexdigest())
    return str(file)


def test_zip_wheel_and_download_give_equal_tables(official: Path, tmp_path: Path) -> None:
    wheel = tmp_path / "recbole-1.2.1-py3-none-any.whl"
    wheel.write_bytes(packed(wheel_members()))
    sources = {"zip": str(official), "wheel": str(wheel), "net": None}
    tables = [
        read(fetch_movielens100k(source, tmp_path / name / "movielens100k"))
        for name, source in sources.items()
    ]
    for table in tables[1:]:
        for name in ("events", "users", "items"):
            pd.testing.assert_frame_equal(getattr(table, name), getattr(tables[0], name))
        assert (table.name, table.rejected) == (tables[0].name, tables[0].rejected)
    assert tables[0].items["class=Comedy"].tolist() == [1, 1, 0]
    assert tables[0].users["age"].tolist() == [24, 53]
    texts = [
        [(tmp_path / n / "movielens100k" / f"movielens100k.{k}").read_text() for k in fetch.HEADERS]
        for n in sources
    ]
    assert texts[0] == texts[1] == texts[2]  # titles and years too


def test_fetched_again_replaces_and_leaves_nothing_beside(official: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "movielens100k"
    assert fetch_movielens100k(str(official), folder) == folder
    (folder / "movielens100k.inter").write_text("damaged")
    fetch_movielens100k(str(official), folder)
    assert (folder / "movielens100k.inter").read_text().startswith("user_id:token")
    assert [p.name for p in folder.parent.iterdir()] == ["movielens100k"]


def test_a_folder_with_other_files_is_left_alone(official: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "notes.txt").write_text("keep")
    with pytest.raises(InputError, match="holds other files"):
        fetch_movielens100k(str(official), folder)
    assert [p.name for p in folder.iterdir()] == ["notes.txt"]


def test_nothing_half_written(
    official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, *args: object, **kwargs: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    folder = tmp_path / "cache" / "movielens100k"
    with pytest.raises(InputError, match="No space left"):
        fetch_movielens100k(str(official), folder)
    assert list(folder.parent.iterdir()) == []


def test_member_names_are_no_paths(official: Path, tmp_path: Path, monkeypatch) -> None:
    members = {**official_members(), "../../evil.txt": b"x", "/evil.txt": b"x"}
    source = with_md5(tmp_path / "slip.zip", members, monkeypatch)
    fetch_movielens100k(source, tmp_path / "deep" / "er" / "movielens100k")
    assert not list(tmp_path.rglob("evil*"))
    assert not Path("/evil.txt").exists()


def test_one_line_says_what_to_do(official: Path, tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "movielens100k"

    def refused(source: str | None, *words: str) -> None:
        with pytest.raises(InputError) as caught:
            fetch_movielens100k(source, folder)
        message = str(caught.value)
        assert "\n" not in message
        for word in (*words, "--from FILE"):
            assert word in message
        assert not folder.exists()

    good = official.read_bytes()
    refused(str(tmp_path / "none.zip"), "none.zip", "No such file")
    other = tmp_path / "other.zip"
    other.write_bytes(packed({"a.txt": b"a"}))
    refused(str(other), "MD5", "RecBole wheel")
    other.write_bytes(good[:200])
    refused(str(other), "not a whole zip")
    other.write_bytes(b"<html>not found</html>")
    refused(str(other), "not a whole zip")
    monkeypatch.setattr(fetch, "LARGEST", 100)
    refused(str(official), "over 0 MB")
    monkeypatch.undo()
    monkeypatch.setattr(fetch, "URL", (tmp_path / "gone.zip").as_uri())
    refused(None, "cannot be fetched")


def test_members_that_are_missing_or_wrong(official: Path, tmp_path: Path, monkeypatch) -> None:
    def refused(members: dict[str, bytes], match: str) -> None:
        source = with_md5(tmp_path / "made.zip", members, monkeypatch)
        with pytest.raises(InputError, match=match):
            fetch_movielens100k(source, tmp_path / "movielens100k")

    for name, members in (("ml-100k/u.genre", official_members()), ("", wheel_members())):
        name = name or next(n for n in members if n.endswith(".item"))
        refused({k: v for k, v in members.items() if k != name}, f"no {name} in it")
    whole = wheel_members()
    inter = next(n for n in whole if n.endswith(".inter"))
    refused({**whole, inter: whole[inter].rsplit(b"\n", 2)[0]}, "3 rows for .*inter and not 4")
    refused({**whole, inter: b"a:token\n"}, "line 1: not the header")
    refused({**whole, inter: b"\xff\xfe"}, "not utf-8 text")


def test_the_folder_is_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FITEXP_CACHE", str(tmp_path))
    assert movielens_folder() == tmp_path / "movielens100k"


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200
)
@given(at=st.integers(0, 2000), byte=st.integers(0, 255), cut=st.integers(0, 4))
def test_a_damaged_wheel_is_refused_or_whole(
    official: Path, tmp_path: Path, at: int, byte: int, cut: int
) -> None:
    data = bytearray(packed(wheel_members()))
    data[at % len(data)] = byte
    wheel = tmp_path / "damaged.whl"
    wheel.write_bytes(data[: len(data) - cut])
    folder = tmp_path / "movielens100k"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        fetch_movielens100k(str(wheel), folder)
    except InputError:
        assert not folder.exists()
        return
    for name, content in wheel_members().items():
        kind = name.rpartition(".")[2]
        assert (folder / f"movielens100k.{kind}").read_bytes() == content
