"""Small MovieLens data, made up, as GroupLens' zip and as RecBole's wheel have them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np

from fitexp.data.exercises.fetch import HEADERS

GENRES = ("unknown", "Action", "Comedy", "Sci-Fi")
USERS = [("1", "24", "M", "technician", "85711"), ("2", "53", "F", "other", "94043")]
FILMS = [  # number, title, date, genres
    ("1", "Toy Story", "01-Jan-1995", ("Action", "Comedy")),
    ("2", "Amélie", "01-Jan-2001", ("Comedy",)),
    ("3", "unknown", "", ("unknown",)),
]
RATINGS = [  # user, film, rating, s; not in the order of time, two at one time
    ("2", "3", "4", "886397596"),
    ("1", "2", "3", "881250949"),
    ("2", "1", "5", "886397590"),
    ("1", "1", "1", "881250949"),
]


def packed(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return out.getvalue()


def official_members() -> dict[str, bytes]:
    films = []
    for number, title, date, genres in FILMS:
        shown = f"{title} ({date[-4:]})" if date else title
        flags = ["1" if genre in genres else "0" for genre in GENRES]
        films.append("|".join([number, shown, date, "", "http://example.org", *flags]))
    texts = {
        "u.data": "".join("\t".join(row) + "\n" for row in RATINGS),
        "u.user": "".join("|".join(row) + "\n" for row in USERS),
        "u.item": "\n".join(films) + "\n",
        "u.genre": "".join(f"{genre}|{k}\n" for k, genre in enumerate(GENRES)) + "\n",
    }
    return {f"ml-100k/{name}": text.encode("latin-1") for name, text in texts.items()}


def wheel_members() -> dict[str, bytes]:
    films = [[n, title, date[-4:], " ".join(genres)] for n, title, date, genres in FILMS]
    tables = {
        "inter": (["user_id:token", "item_id:token", "rating:float", "timestamp:float"], RATINGS),
        "user": (
            ["user_id:token", "age:token", "gender:token", "occupation:token", "zip_code:token"],
            USERS,
        ),
        "item": (
            ["item_id:token", "movie_title:token_seq", "release_year:token", "class:token_seq"],
            films,
        ),
    }
    return {
        f"recbole/dataset_example/ml-100k/ml-100k.{kind}": "".join(
            "\t".join(row) + "\n" for row in [header, *rows]
        ).encode()
        for kind, (header, rows) in tables.items()
    }


def write_films(folder: Path, *, users: int, events: int, films: int) -> None:
    """A folder as `fitexp data fetch` makes it: ratings at random, no film twice by a user."""
    draw = np.random.default_rng(0)
    tables = {
        "inter": [
            f"{user}\t{film}\t3\t{second}"
            for user in range(users)
            for second, film in enumerate(draw.permutation(films)[:events])
        ],
        "user": [f"{user}\t{20 + user}\t{'FM'[user % 2]}\tother\t0" for user in range(users)],
        "item": [f"{film}\tfilm {film}\t1990\t{GENRES[film % 4]}" for film in range(films)],
    }
    folder.mkdir()
    for kind, rows in tables.items():
        text = "\n".join([HEADERS[kind], *rows]) + "\n"
        (folder / f"movielens100k.{kind}").write_text(text, encoding="utf-8")
