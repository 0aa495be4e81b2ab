"""The user's own corpus, and what is said about one that cannot be used."""

from __future__ import annotations

import json
import os
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_service.corpus import readers
from rag_service.corpus.document import CorpusError, Document
from rag_service.corpus.readers import Columns, file_documents


def refused(path, **options):
    with pytest.raises(CorpusError) as error:
        file_documents(path, **options)
    return str(error.value)


def test_a_mixed_folder_becomes_documents(tmp_path):
    """A heading is a title, a path is an id; records bring their own; other files are left alone."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.md").write_text("# Refunds\n\nWithin 30 days.")
    (tmp_path / "b.txt").write_text("Plain words.")
    (tmp_path / "c.jsonl").write_text('{"id": "j", "title": "J", "text": "from JSONL"}\n')
    pq.write_table(pa.table({"id": ["p"], "text": ["from Parquet"]}), tmp_path / "d.parquet")
    (tmp_path / "e.png").write_bytes(b"\x89PNG")
    assert file_documents(tmp_path) == (
        Document("b.txt", "b.txt", "Plain words."),
        Document("j", "J", "from JSONL"),
        Document("p", "p", "from Parquet"),
        Document("deep/a.md", "Refunds", "# Refunds\n\nWithin 30 days."),
    )


def test_a_single_text_file_is_a_corpus(tmp_path):
    """One handbook in one file is common."""
    (tmp_path / "handbook.md").write_text("# Handbook\n\nBe kind.")
    assert [document.id for document in file_documents(tmp_path / "handbook.md")] == ["handbook.md"]


def test_jsonl_and_parquet_say_the_same(tmp_path):
    """Both formats hold id, title and text; a missing title is the id."""
    (tmp_path / "c.jsonl").write_text('{"id": "a", "title": "A", "text": "x"}\n\n{"id": "b", "text": "y"}\n')
    table = pa.table({"id": ["a", "b"], "title": ["A", None], "text": ["x", "y"]})
    pq.write_table(table, tmp_path / "c.parquet")
    expected = (Document("a", "A", "x"), Document("b", "b", "y"))
    assert file_documents(tmp_path / "c.jsonl") == file_documents(tmp_path / "c.parquet") == expected


def test_long_texts_are_cut_whatever_file_they_come_from(tmp_path):
    """An embedding reads the beginning of a text only; parts are numbered from the second on."""
    text = "\n\n".join(f"Paragraph {n}. " + "word " * 100 for n in range(8))
    (tmp_path / "a.md").write_text(text)
    (tmp_path / "b.jsonl").write_text(json.dumps({"id": "b", "title": "B", "text": text}))
    documents = file_documents(tmp_path)
    assert [item.id for item in documents] == ["a.md", "a.md/2", "a.md/3", "b", "b/2", "b/3"]
    assert [item.title for item in documents[3:]] == ["B", "B, part 2", "B, part 3"]


def test_records_may_call_their_fields_otherwise(tmp_path):
    """Nobody has to rewrite an export; what else it holds is named once."""
    (tmp_path / "c.jsonl").write_text('{"key": "a", "body": "x", "url": "u"}\n')
    table = pa.table({"key": ["b"], "body": ["y"], "url": ["u"], "views": [3]})
    pq.write_table(table, tmp_path / "d.parquet")
    said = []
    columns = Columns("key", "name", "body")
    documents = file_documents(tmp_path, columns, report=said.append)
    assert documents == (Document("a", "a", "x"), Document("b", "b", "y"))
    assert said == [f"{tmp_path / 'd.parquet'}: the columns url, views are left out"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("c.jsonl", b"{", "c.jsonl, line 1: is not JSON"),
        ("c.jsonl", b'{"id": "a", "text": "x"}\n[]', "line 2: is list"),
        ("c.jsonl", b'{"id": "a", "text": " "}', "'text' is ' '"),
        ("c.jsonl", b'{"id": 7, "text": "x"}', "'id' is 7"),
        (
            "c.jsonl",
            b'{"key": "a", "text": "x"}',
            "'id' is None; it must be a string that is not empty; it has 'key'",
        ),
        ("c.jsonl", b'{"id": "a", "title": 3, "text": "x"}', "'title' is 3"),
        (
            "c.jsonl",
            b'{"id": "a", "text": "x"}\n{"id": "a", "text": "y"}',
            "line 2: the id 'a' was used already, by",
        ),
        (
            "c.jsonl",
            b'{"id": "a", "text": "x"}\n{"id": "b", "text": "caf\xe9"}',
            "line 2: is not UTF-8 (line 2",
        ),
        ("c.jsonl", b'{"id": "a", "text": "\\ud800"}', "which is no character"),
        ("c.jsonl", b"[" * 100_000, "is nested too deeply"),
        ("c.jsonl", b'{"id": "a", "text": ' + b"9" * 5000 + b"}", "is not JSON"),
        ("c.jsonl", b"\x00\x01\x02\n", "is binary"),
        ("c.jsonl", '{"id": "a"}'.encode("utf-16"), "is UTF-16"),
        ("c.jsonl", b"", "holds no documents"),
        ("c.parquet", b"no", "cannot be read as Parquet"),
        ("c.parquet", b"", "cannot be read as Parquet"),
        ("c.txt", b"one\ntwo\ncaf\xe9", "c.txt: is not UTF-8 (line 3, byte 11: 0xe9)"),
        ("c.txt", "wide".encode("utf-16"), "is UTF-16"),
        ("c.md", b"%PDF\x00\xff", "is binary, not text (a zero byte at byte 4)"),
        ("c.md", b" \n\n", "holds no documents"),
    ],
)
def test_a_bad_file_is_named_with_the_place_and_what_is_allowed(tmp_path, name, content, said):
    """The message names the file and the line or field that is wrong."""
    (tmp_path / name).write_bytes(content)
    message = refused(tmp_path / name)
    assert said in message
    assert name in message


def test_a_torn_or_foreign_parquet_file_is_named(tmp_path):
    """A download that ended early, and a table about other things."""
    file = tmp_path / "c.parquet"
    pq.write_table(pa.table({"id": [str(n) for n in range(5000)], "text": ["words " * 9] * 5000}), file)
    file.write_bytes(file.read_bytes()[:-100])
    assert "cannot be read as Parquet" in refused(file)
    pq.write_table(pa.table({"key": ["a"], "text": ["x"]}), file)
    assert "lacks the column 'id'; it has ['key', 'text']; --id-column" in refused(file)
    pq.write_table(pa.table({"id": [1], "text": ["x"]}), file)
    assert "c.parquet, row 1: 'id' is 1" in refused(file)


def test_everything_that_is_wrong_is_said_at_once(tmp_path):
    """Ten problems at most, each with its place, and the way out."""
    (tmp_path / "a.txt").write_bytes(b"\xff")
    (tmp_path / "b.jsonl").write_text("{\n" * 30)
    lines = refused(tmp_path).splitlines()
    assert "a.txt" in lines[0]
    assert len(lines) == 12
    assert lines[-2] == "… and more"
    assert "--skip-bad" in lines[-1]


def test_what_is_wrong_can_be_left_out(tmp_path):
    """The rest of the corpus is read, and what is missing is said."""
    (tmp_path / "a.txt").write_bytes(b"\xff")
    (tmp_path / "b.jsonl").write_text('{\n{"id": "b", "text": "x"}\n{"id": "b", "text": "y"}\n')
    said = []
    documents = file_documents(tmp_path, skip_bad=True, report=said.append)
    assert documents == (Document("b", "b", "x"),)
    assert said[-1] == "3 files or records are left out"
    assert sum("left out: " in line for line in said) == 3


def test_an_empty_file_among_others_is_no_error(tmp_path):
    """Empty files lie around everywhere."""
    (tmp_path / "a.md").write_text("")
    (tmp_path / "b.md").write_text("x")
    said = []
    assert [document.id for document in file_documents(tmp_path, report=said.append)] == ["b.md"]
    assert said == [f"{tmp_path / 'a.md'} is empty; it is left out"]


def test_huge_files_and_lines_are_refused_before_they_are_read(tmp_path, monkeypatch):
    """Memory is not the place to find out; the line after a huge one is read as usual."""
    monkeypatch.setattr(readers, "MAX_TEXT_BYTES", 10)
    monkeypatch.setattr(readers, "MAX_LINE_BYTES", 40)
    (tmp_path / "a.txt").write_text("x" * 11)
    assert "has 11 bytes; at most 10 are allowed" in refused(tmp_path / "a.txt")
    (tmp_path / "b.jsonl").write_text('{"id": "a", "text": "%s"}\n{"id": "b", "text": "y"}\n' % ("x" * 200))
    assert "line 1: is longer than 40 bytes" in refused(tmp_path / "b.jsonl")
    assert [item.id for item in file_documents(tmp_path / "b.jsonl", skip_bad=True)] == ["b"]


def test_too_many_documents_are_refused(tmp_path, monkeypatch):
    """A limit that is said beats a machine that swaps."""
    monkeypatch.setattr(readers, "MAX_DOCUMENTS", 2)
    (tmp_path / "b.jsonl").write_text("".join(f'{{"id": "{n}", "text": "x"}}\n' for n in range(3)))
    assert "more than 2 documents" in refused(tmp_path / "b.jsonl")


def test_windows_line_ends_and_a_byte_order_mark_are_no_part_of_a_text(tmp_path):
    """Editors write both."""
    (tmp_path / "a.md").write_bytes(b"\xef\xbb\xbf# Title\r\n\r\nText.\r\n")
    assert file_documents(tmp_path) == (Document("a.md", "Title", "# Title\n\nText."),)


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems refuse such names themselves")
def test_a_file_name_that_is_no_text_is_named(tmp_path):
    """Its name would be an id that nothing could write down."""
    with open(os.fsencode(tmp_path) + b"/caf\xe9.md", "w") as file:  # noqa: PTH123
        file.write("x")
    assert "which is no character" in refused(tmp_path)


@given(st.binary(max_size=300))
def test_any_bytes_are_documents_or_a_sentence(tmp_path_factory, content):
    """Whatever lies in a file: documents, or a CorpusError; nothing else ever."""
    folder = tmp_path_factory.mktemp("any")
    for suffix in (".md", ".jsonl", ".parquet"):
        file = folder / f"c{suffix}"
        file.write_bytes(content)
        try:
            documents = file_documents(file)
        except CorpusError as error:
            assert "c" + suffix in str(error)
        else:
            assert all(document.text.strip() for document in documents)


def test_a_large_corpus_says_how_far_it_is_read(tmp_path, monkeypatch):
    """Reading a million records takes a minute; silence would look like a hang."""
    monkeypatch.setattr(readers, "_REPORT_EVERY", 10)
    (tmp_path / "c.jsonl").write_text("".join(f'{{"id": "{n}", "text": "x"}}\n' for n in range(25)))
    said = []
    file_documents(tmp_path / "c.jsonl", report=said.append)
    assert said == ["read 10 documents so far", "read 20 documents so far"]
