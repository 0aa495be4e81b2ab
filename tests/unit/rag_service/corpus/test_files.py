"""Which files a corpus path stands for, and what is said about what is left out."""

from __future__ import annotations

import os

import pytest

from rag_service.corpus.document import CorpusError
from rag_service.corpus.files import corpus_files


def test_a_folder_gives_its_readable_files_sorted(tmp_path):
    """Five kinds count, whatever the case of their endings; the rest is named once, with its number."""
    (tmp_path / "deep").mkdir()
    for name in ("b.txt", "deep/a.MD", "c.jsonl", "d.parquet", "e.markdown", "f.png", "g.png", "h"):
        (tmp_path / name).write_text("x")
    found = corpus_files(tmp_path)
    names = [str(file.relative_to(tmp_path)) for file in found.files]
    assert names == ["b.txt", "c.jsonl", "d.parquet", "deep/a.MD", "e.markdown"]
    assert found.notes == ("files of other kinds are left out: 3 (.png, nameless)",)


def test_hidden_folders_are_not_the_users_text(tmp_path):
    """A `.git` or `.venv` full of text files is no part of a handbook."""
    (tmp_path / ".venv").mkdir()
    for name in (".venv/licence.txt", ".hidden.md", "seen.md"):
        (tmp_path / name).write_text("x")
    assert [file.name for file in corpus_files(tmp_path).files] == ["seen.md"]


def test_a_link_back_is_followed_once(tmp_path):
    """A loop of links ends, and is mentioned; a link to another folder is read."""
    (tmp_path / "corpus").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "corpus" / "a.md").write_text("x")
    (tmp_path / "elsewhere" / "b.md").write_text("x")
    (tmp_path / "corpus" / "loop").symlink_to(tmp_path / "corpus")
    (tmp_path / "corpus" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "corpus" / "self.md").symlink_to("self.md")
    (tmp_path / "corpus" / "gone.txt").symlink_to("nowhere.txt")
    found = corpus_files(tmp_path / "corpus")
    assert [file.name for file in found.files] == ["a.md", "b.md"]
    assert sorted(note.partition(" ")[0].rpartition("/")[2] for note in found.notes) == [
        *["gone.txt", "loop", "self.md"]
    ]


def test_a_pipe_is_not_waited_for(tmp_path):
    """Opening a named pipe would hang for ever."""
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(CorpusError, match="holds nothing that can be read"):
        corpus_files(tmp_path)
    with pytest.raises(CorpusError, match="neither a file nor a folder"):
        corpus_files(tmp_path / "pipe.txt")


@pytest.mark.parametrize(
    ("name", "said"),
    [("nope", "does not exist"), ("c.pdf", "is a .pdf file; allowed:"), ("noname", "is a nameless file")],
)
def test_a_path_that_cannot_be_a_corpus_is_refused_with_what_is_allowed(tmp_path, name, said):
    """Nothing, and something of another kind, each have their own sentence."""
    for existing in ("c.pdf", "noname"):
        (tmp_path / existing).write_text("x")
    with pytest.raises(CorpusError, match=said) as error:
        corpus_files(tmp_path / name)
    assert ".jsonl or .parquet" in str(error.value)


def test_a_link_that_leads_to_itself_is_refused(tmp_path):
    """Even the path that was named may be a loop."""
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(CorpusError, match=r"does not exist|cannot be read"):
        corpus_files(tmp_path / "loop")
