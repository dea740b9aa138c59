"""MovieLens-100K for experiments: fetched or taken from a file, kept in the cache folder.

Source: F. M. Harper, J. A. Konstan: The MovieLens Datasets, ACM TiiS 5(4), 2015;
https://grouplens.org/datasets/movielens/100k. Its terms forbid passing it on: it stays where it is
put and belongs in no repository.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import lzma
import shutil
import struct
import tempfile
import urllib.request
import zipfile
import zlib
from pathlib import Path

from fitexp.data.prepare import cache_folder
from fitexp.errors import InputError

NAME = "movielens100k"
URL = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
MD5 = "0e33842e24a9c977be4e0107933c0723"
RATINGS, USERS, ITEMS = 100_000, 943, 1_682
LARGEST = 50 * 2**20  # bytes, of the zip and of each file in it
TIMEOUT_S = 60
WHEEL = "recbole/dataset_example/ml-100k/ml-100k"  # .inter, .user, .item
HEADERS = {
    "inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float",
    "user": "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token",
    "item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq",
}
DAMAGE = (  # what zipfile raises for a zip that is cut, damaged, locked or packed in a strange way
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    struct.error,
)
BY_HAND = f"download {URL} and give it with --from FILE"

Files = dict[str, str]  # inter, user, item -> text of the atomic file


def movielens_folder() -> Path:
    """Where `fetch_movielens100k` puts it unless told otherwise."""
    return cache_folder() / NAME


def fetch_movielens100k(source: str | None, folder: Path) -> Path:
    """Make `folder` with movielens100k.inter, .user and .item, and return it.

    source: GroupLens' ml-100k.zip, known by its checksum, or a wheel of RecBole (1.2.1 has it),
    known by its numbers of ratings, users and films; None downloads the zip.
    The files are written to a temporary folder that is renamed when it is whole. A `folder` that
    holds anything else is left alone. Raises InputError that says what to do.
    """
    where = Path(source).expanduser() if source else None
    data = _download() if where is None else _local(where)
    name = URL if where is None else str(where)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            wheel = f"{WHEEL}.inter" in packed.namelist()
            if not wheel:
                _check_md5(name, data)
            files = _from_wheel(packed, name) if wheel else _from_zip(packed, name)
    except InputError:
        raise
    except DAMAGE as error:
        raise InputError(f"{name}: not a whole zip file ({error}); {BY_HAND}") from error
    for kind, rows in zip(HEADERS, (RATINGS, USERS, ITEMS), strict=True):
        found = len(files[kind].splitlines()) - 1
        if found != rows:
            raise InputError(
                f"{name}: {found:,} rows for movielens100k.{kind} and not {rows:,}, so this is not "
                f"MovieLens-100K; {BY_HAND}"
            )
    _write(files, folder)
    return folder


def _download() -> bytes:
    try:
        with urllib.request.urlopen(URL, timeout=TIMEOUT_S) as answer:
            return _limited(answer.read(LARGEST + 1), URL)
    except (OSError, http.client.HTTPException) as error:  # URLError and time-outs are OSErrors
        reason = getattr(error, "reason", error)
        raise InputError(f"{URL}: cannot be fetched ({reason}); {BY_HAND}") from error


def _local(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return _limited(stream.read(LARGEST + 1), str(file))
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); {BY_HAND}") from error


def _limited(data: bytes, name: str) -> bytes:
    if len(data) > LARGEST:
        raise InputError(f"{name}: over {LARGEST >> 20} MB, so not MovieLens-100K; {BY_HAND}")
    return data


def _check_md5(name: str, data: bytes) -> None:
    found = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if found != MD5:
        raise InputError(
            f"{name}: MD5 {found} is not that of ml-100k.zip ({MD5}), nor is it a RecBole wheel "
            f"with MovieLens; {BY_HAND}"
        )


def _member(packed: zipfile.ZipFile, name: str, member: str, encoding: str) -> str:
    """The text of one member. It is read, never unpacked to the path that the zip names."""
    try:
        with packed.open(member) as stream:
            return _limited(stream.read(LARGEST + 1), f"{name}, {member}").decode(encoding)
    except KeyError as error:
        raise InputError(f"{name}: no {member} in it; {BY_HAND}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{name}, {member}: not {encoding} text; {BY_HAND}") from error


def _from_wheel(packed: zipfile.ZipFile, name: str) -> Files:
    files = {kind: _member(packed, name, f"{WHEEL}.{kind}", "utf-8") for kind in HEADERS}
    for kind, header in HEADERS.items():
        if files[kind].partition("\n")[0].strip() != header:
            raise InputError(
                f"{name}, {WHEEL}.{kind}, line 1: not the header of RecBole 1.2.1; {BY_HAND}"
            )
    return files


def _from_zip(packed: zipfile.ZipFile, name: str) -> Files:
    """u.data, u.user, u.item and u.genre as atomic files."""

    def rows(member: str, separator: str) -> list[list[str]]:
        text = _member(packed, name, f"ml-100k/{member}", "latin-1")
        return [line.split(separator) for line in text.split("\n") if line.strip()]

    genres = [genre for genre, _ in rows("u.genre", "|")]  # in the order of u.item's flags
    items = []
    for row in rows("u.item", "|"):
        number, title, date = row[:3]
        labels = [genre for genre, flag in zip(genres, row[5:], strict=True) if flag.strip() == "1"]
        shown = title.removesuffix(f" ({date[-4:]})")  # Toy Story (1995), 01-Jan-1995
        items.append([number, shown, date[-4:], " ".join(labels)])
    tables = {"inter": rows("u.data", "\t"), "user": rows("u.user", "|"), "item": items}
    return {
        kind: "\n".join([HEADERS[kind], *("\t".join(row) for row in table)]) + "\n"
        for kind, table in tables.items()
    }


def _write(files: Files, folder: Path) -> None:
    names = {f"{NAME}.{kind}": text for kind, text in files.items()}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists() and any(file.name not in names for file in folder.iterdir()):
            raise InputError(f"{folder}: holds other files; remove or rename that folder first")
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            for name, text in names.items():
                (temporary / name).write_text(text, encoding="utf-8", newline="\n")
            temporary.chmod(0o755)
            if folder.exists():
                shutil.rmtree(folder)
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror}); set FITEXP_CACHE to a folder that can"
        ) from error
