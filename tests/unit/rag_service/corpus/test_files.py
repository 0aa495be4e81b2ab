"""The user's own corpus, and what is said about one that cannot be used."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rag_service.corpus.document import CorpusError, Document
from rag_service.corpus.files import file_documents


def test_a_folder_of_markdown_and_text_becomes_documents(tmp_path: Path) -> None:
    """A heading is the title, the path is the id, other files are left alone."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.md").write_text("# Refunds\n\nWithin 30 days.")
    (tmp_path / "b.txt").write_text("Plain words.")
    (tmp_path / "c.png").write_bytes(b"\x89PNG")
    assert file_documents(tmp_path) == (
        Document("b.txt", "b.txt", "Plain words."),
        Document("deep/a.md", "Refunds", "# Refunds\n\nWithin 30 days."),
    )


def test_jsonl_and_parquet_say_the_same(tmp_path: Path) -> None:
    """Both formats hold id, title and text; a missing title is the id."""
    (tmp_path / "c.jsonl").write_text('{"id": "a", "title": "A", "text": "x"}\n\n{"id": "b", "text": "y"}\n')
    table = pa.table({"id": ["a", "b"], "title": ["A", None], "text": ["x", "y"]})
    pq.write_table(table, tmp_path / "c.parquet")
    expected = (Document("a", "A", "x"), Document("b", "b", "y"))
    assert file_documents(tmp_path / "c.jsonl") == file_documents(tmp_path / "c.parquet") == expected


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("c.jsonl", "{", "line 1 is not JSON"),
        ("c.jsonl", "[]", "line 1 is list"),
        ("c.jsonl", '{"id": "a", "text": " "}', "'text' is ' '"),
        ("c.jsonl", '{"id": 7, "text": "x"}', "'id' is 7"),
        ("c.jsonl", '{"id": "a", "text": "x"}\n{"id": "a", "text": "y"}', "the id 'a' twice"),
        ("c.jsonl", "", "holds no documents"),
        ("c.parquet", "no", "cannot be read as Parquet"),
        ("c.pdf", "%PDF", "is a .pdf file; allowed:"),
    ],
)
def test_a_bad_file_is_named_with_the_place_and_what_is_allowed(
    tmp_path: Path, name: str, content: str, said: str
) -> None:
    """The message names the file and the line or field that is wrong."""
    (tmp_path / name).write_text(content)
    with pytest.raises(CorpusError) as error:
        file_documents(tmp_path / name)
    assert said in str(error.value)
    assert name in str(error.value)


def test_a_missing_path_an_empty_folder_and_a_wrong_encoding_are_refused(tmp_path: Path) -> None:
    """Nothing, nothing readable and unreadable text each have their own sentence."""
    with pytest.raises(CorpusError, match="does not exist"):
        file_documents(tmp_path / "nope")
    with pytest.raises(CorpusError, match=r"no \.md or \.txt"):
        file_documents(tmp_path)
    (tmp_path / "latin.txt").write_bytes("caf\xe9".encode("latin-1"))
    with pytest.raises(CorpusError, match="not UTF-8"):
        file_documents(tmp_path)
