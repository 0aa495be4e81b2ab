"""From a corpus to an index folder."""

import json
import os
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from rag_service.corpus import CorpusError, CorpusSource, load_documents
from rag_service.corpus.target import alone
from rag_service.ingest import DIMENSION, Embed, ingest, main


class Embedder:
    """Stands in for the model: one direction per text; says what it embedded."""

    def __init__(self, *, stop_after: int | None = None) -> None:
        self.loaded = 0
        self.texts: list[str] = []
        self._stop_after = stop_after

    def load(self) -> Embed:
        self.loaded += 1
        return self._embed

    def _embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self._stop_after is not None and len(self.texts) >= self._stop_after:
            raise KeyboardInterrupt
        self.texts += texts
        vectors = np.zeros((len(texts), DIMENSION), dtype=np.float32)
        for row, text in enumerate(texts):
            vectors[row, len(text) % DIMENSION] = 1.0
        return vectors


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps({"id": f"d{n}", "text": "x" * (40 - n)}) + "\n" for n in range(5)))
    return path


def _silent(_: str) -> None:
    pass


def test_vectors_stand_in_the_order_of_the_documents(tmp_path: Path, corpus: Path) -> None:
    """Texts are embedded by length, yet row n belongs to document n."""
    ingest(CorpusSource(corpus), tmp_path / "index", _silent, Embedder().load)
    loaded = load_documents(tmp_path / "index")
    index = faiss.read_index(str(tmp_path / "index" / "index.faiss"))
    for row, document in enumerate(loaded.documents):
        text = f"{document.title}\n{document.text}"
        assert int(np.argmax(index.reconstruct(row))) == len(text) % DIMENSION
    assert loaded.manifest.documents == index.ntotal == 5


def test_a_fitting_index_is_left_alone_without_loading_the_model(tmp_path: Path, corpus: Path) -> None:
    """The second build is none; touching the file without changing a document is none either."""
    embedder = Embedder()
    assert ingest(CorpusSource(corpus), tmp_path / "index", _silent, embedder.load).built
    assert not ingest(CorpusSource(corpus), tmp_path / "index", _silent, embedder.load).built
    corpus.write_text(corpus.read_text() + "\n")
    assert not ingest(CorpusSource(corpus), tmp_path / "index", _silent, embedder.load).built
    assert embedder.loaded == 1


@pytest.mark.parametrize(
    "damage",
    [
        *["changed corpus", "changed documents", "torn manifest", "no vectors"],
        *["empty vectors", "cut vectors", "fewer vectors", "narrow vectors", "vectors that are no numbers"],
    ],
)
def test_an_index_that_no_longer_fits_is_built_again(tmp_path: Path, corpus: Path, damage: str) -> None:
    """Whatever was changed or lost, the result is whole again."""
    embedder, out = Embedder(), tmp_path / "index"
    ingest(CorpusSource(corpus), out, _silent, embedder.load)
    match damage:
        case "changed corpus":
            corpus.write_text(corpus.read_text() + '{"id": "new", "text": "more"}\n')
        case "changed documents":
            (out / "documents.parquet").write_bytes(b"PAR1")
        case "no vectors":
            (out / "index.faiss").unlink()
        case "empty vectors":
            (out / "index.faiss").write_bytes(b"")
        case "cut vectors":
            (out / "index.faiss").write_bytes((out / "index.faiss").read_bytes()[:-1])
        case "fewer vectors":
            _replace_vectors(out, np.ones((4, DIMENSION), dtype=np.float32))
        case "narrow vectors":
            _replace_vectors(out, np.ones((5, 7), dtype=np.float32))
        case "vectors that are no numbers":
            _replace_vectors(out, np.full((5, DIMENSION), np.nan, dtype=np.float32))
        case "torn manifest":
            (out / "manifest.json").write_text('{"stamp": "')
    assert ingest(CorpusSource(corpus), out, _silent, embedder.load).built
    assert load_documents(out).manifest.documents >= 5
    index = faiss.read_index(str(out / "index.faiss"))
    assert index.reconstruct_n(0, index.ntotal).sum() == load_documents(out).manifest.documents
    assert sorted(item.name for item in tmp_path.iterdir()) == ["corpus.jsonl", "index"]
    assert not ingest(CorpusSource(corpus), out, _silent, embedder.load).built


def _replace_vectors(out: Path, vectors: NDArray[np.float32]) -> None:
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    faiss.write_index(index, str(out / "index.faiss"))


_write_index = faiss.write_index


def _cannot_write(_: object, __: str) -> None:
    raise RuntimeError("Error in FileIOWriter: No space left on device")


def _writes_a_part(index: faiss.Index, file: str) -> None:
    _write_index(index, file)
    Path(file).write_bytes(Path(file).read_bytes()[:-100])


@pytest.mark.parametrize(
    ("write", "said"), [(_cannot_write, "No space left on device"), (_writes_a_part, "after it was written")]
)
def test_vectors_that_the_disk_does_not_take_leave_the_old_index(
    tmp_path: Path,
    corpus: Path,
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[faiss.Index, str], None],
    said: str,
) -> None:
    """Whether FAISS notices or not; the message is a sentence and no traceback."""
    out = tmp_path / "index"
    before = ingest(CorpusSource(corpus), out, _silent, Embedder().load).manifest
    corpus.write_text('{"id": "other", "text": "words"}\n')
    monkeypatch.setattr(faiss, "write_index", write)
    with pytest.raises(CorpusError, match=f"{said}.*make room"):
        ingest(CorpusSource(corpus), out, _silent, Embedder().load)
    assert load_documents(out).manifest == before


def test_a_new_index_that_gets_no_name_leaves_the_old_one_its_own(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second rename fails: the service still finds an index where it looks for one."""
    out = tmp_path / "index"
    before = ingest(CorpusSource(corpus), out, _silent, Embedder().load).manifest
    corpus.write_text('{"id": "other", "text": "words"}\n')
    rename = Path.rename

    def fails_once(path: Path, target: Path) -> Path:
        if Path(target) == out and not path.name.endswith("-old"):
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fails_once)
    with pytest.raises(OSError, match="Input/output error"):
        ingest(CorpusSource(corpus), out, _silent, Embedder().load)
    assert load_documents(out).manifest == before
    assert not list(tmp_path.glob(".index-????????*-old"))


def test_an_index_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut after the rename would otherwise leave empty files with good names."""
    out, synced, missing = tmp_path / "index", set(), []
    fsync, rename = os.fsync, Path.rename

    def remember(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def look(path: Path, target: Path) -> Path:
        missing.extend(item.name for item in (path, *path.iterdir()) if item.stat().st_ino not in synced)
        synced.clear()
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", remember)
    monkeypatch.setattr(Path, "rename", look)
    ingest(CorpusSource(corpus), out, _silent, Embedder().load)
    assert missing == []
    assert synced == {tmp_path.stat().st_ino}, "and the folder that holds the name, after it"


def test_what_a_link_leads_to_is_replaced_and_the_link_stays(tmp_path: Path, corpus: Path) -> None:
    """Others may know the folder by its own name, and it may lie on another disk than the link."""
    (tmp_path / "disk" / "v1").mkdir(parents=True)
    link = tmp_path / "current"
    link.symlink_to(tmp_path / "disk" / "v1")
    assert ingest(CorpusSource(corpus), link, _silent, Embedder().load).built
    corpus.write_text('{"id": "other", "text": "words"}\n')
    assert ingest(CorpusSource(corpus), link, _silent, Embedder().load).built
    assert link.is_symlink()
    assert load_documents(tmp_path / "disk" / "v1").manifest.documents == 1
    assert sorted(item.name for item in tmp_path.iterdir()) == ["corpus.jsonl", "current", "disk"]
    assert [item.name for item in (tmp_path / "disk").iterdir()] == ["v1"]


def test_the_folder_one_stands_in_can_be_the_index(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dot is a name like any other."""
    (tmp_path / "index").mkdir()
    monkeypatch.chdir(tmp_path / "index")
    assert ingest(CorpusSource(corpus), Path(), _silent, Embedder().load).built
    assert load_documents(tmp_path / "index").manifest.documents == 5


def test_a_failed_build_leaves_the_old_index_and_no_rubbish(tmp_path: Path, corpus: Path) -> None:
    """The folder is replaced at the end or not at all."""
    out = tmp_path / "index"
    before = ingest(CorpusSource(corpus), out, _silent, Embedder().load).manifest
    corpus.write_text('{"id": "other", "text": "words"}\n')

    def wrong_width() -> Embed:
        return lambda texts: np.zeros((len(texts), 3), dtype=np.float32)

    with pytest.raises(ValueError, match="shape"):
        ingest(CorpusSource(corpus), out, _silent, wrong_width)
    assert load_documents(out).manifest == before
    assert sorted(item.name for item in tmp_path.iterdir()) == ["corpus.jsonl", "index"]


def _many(tmp_path: Path, count: int) -> Path:
    path = tmp_path / "many.jsonl"
    path.write_text("".join(json.dumps({"id": f"d{n}", "text": f"text {n}"}) + "\n" for n in range(count)))
    return path


def _vector_of(out: Path, document_id: str) -> int:
    """The direction that the index holds for a document."""
    ids = [document.id for document in load_documents(out).documents]
    index = faiss.read_index(str(out / "index.faiss"))
    return int(np.argmax(index.reconstruct(ids.index(document_id))))


def test_an_interrupted_ingest_goes_on_where_it_was(tmp_path: Path) -> None:
    """What was embedded before is not embedded again, and the result is the same as in one go."""
    source, out = CorpusSource(_many(tmp_path, 1000)), tmp_path / "index"
    first = Embedder(stop_after=512)
    with pytest.raises(KeyboardInterrupt):
        ingest(source, out, _silent, first.load)
    assert not out.exists()
    said: list[str] = []
    second = Embedder()
    assert ingest(source, out, said.append, second.load).built
    assert "512 of them are embedded already" in said
    assert len(first.texts) + len(second.texts) == 1000
    assert not set(first.texts) & set(second.texts)
    ingest(source, tmp_path / "whole", _silent, Embedder().load)
    assert (out / "index.faiss").read_bytes() == (tmp_path / "whole" / "index.faiss").read_bytes()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["index", "many.jsonl", "whole"]


def test_a_second_interruption_loses_nothing_of_the_first(tmp_path: Path) -> None:
    """Both may have the same process id, as in containers, where it is always 1."""
    source, out = CorpusSource(_many(tmp_path, 1100)), tmp_path / "index"
    texts: list[str] = []
    for _ in range(4):
        embedder = Embedder(stop_after=256)
        with pytest.raises(KeyboardInterrupt):
            ingest(source, out, _silent, embedder.load)
        texts += embedder.texts
    last = Embedder()
    assert ingest(source, out, _silent, last.load).built
    assert len(texts) == len(set(texts)) == 4 * 256
    assert len(last.texts) == 1100 - len(texts)


def test_a_torn_batch_is_embedded_again(tmp_path: Path) -> None:
    """A file that cannot be read costs its batch, never the ingest and never a wrong vector."""
    source, out = CorpusSource(_many(tmp_path, 600)), tmp_path / "index"
    with pytest.raises(KeyboardInterrupt):
        ingest(source, out, _silent, Embedder(stop_after=512).load)
    batches = sorted((tmp_path / ".index-embeddings").iterdir())
    assert len(batches) == 2
    batches[0].write_bytes(batches[0].read_bytes()[:200])
    second = Embedder()
    ingest(source, out, _silent, second.load)
    assert len(second.texts) == 600 - 256
    ingest(source, tmp_path / "whole", _silent, Embedder().load)
    assert (out / "index.faiss").read_bytes() == (tmp_path / "whole" / "index.faiss").read_bytes()


def test_a_changed_corpus_embeds_only_what_is_new(tmp_path: Path, corpus: Path) -> None:
    """One changed line among thousands costs one embedding; a removed one costs none, not even the model."""
    out = tmp_path / "index"
    ingest(CorpusSource(corpus), out, _silent, Embedder().load)
    before = _vector_of(out, "d3")
    corpus.write_text(corpus.read_text() + '{"id": "new", "text": "something else"}\n')
    second = Embedder()
    assert ingest(CorpusSource(corpus), out, _silent, second.load).built
    assert second.texts == ["new\nsomething else"]
    assert _vector_of(out, "d3") == before
    corpus.write_text("".join(corpus.read_text().splitlines(keepends=True)[2:]))
    third = Embedder()
    assert ingest(CorpusSource(corpus), out, _silent, third.load).built
    assert third.loaded == 0
    assert _vector_of(out, "d3") == before


def test_the_same_text_twice_is_embedded_once(tmp_path: Path) -> None:
    """Boilerplate repeats; its vectors are the same."""
    path = tmp_path / "c.jsonl"
    path.write_text("".join(f'{{"id": "d{n}", "title": "t", "text": "same"}}\n' for n in range(9)))
    embedder = Embedder()
    ingest(CorpusSource(path), tmp_path / "index", _silent, embedder.load)
    assert len(embedder.texts) == 1
    assert load_documents(tmp_path / "index").manifest.documents == 9


def test_progress_says_how_fast_and_how_long(tmp_path: Path) -> None:
    """Who waits for an hour wants to know that it is an hour."""
    said: list[str] = []
    ingest(CorpusSource(_many(tmp_path, 600)), tmp_path / "index", said.append, Embedder().load)
    progress = [line for line in said if line.startswith("embedded ")]
    assert [line.split(",")[0] for line in progress] == [
        *["embedded 256 of 600 documents", "embedded 512 of 600 documents", "embedded 600 of 600 documents"]
    ]
    assert "to go" in progress[0]
    assert "to go" not in progress[-1]


def test_a_broken_corpus_leaves_the_old_index(tmp_path: Path, corpus: Path) -> None:
    """A line that is no JSON ends the ingest before anything is touched."""
    out = tmp_path / "index"
    before = ingest(CorpusSource(corpus), out, _silent, Embedder().load).manifest
    corpus.write_text(corpus.read_text() + "{\n")
    with pytest.raises(CorpusError, match="line 6: is not JSON"):
        ingest(CorpusSource(corpus), out, _silent, Embedder().load)
    assert load_documents(out).manifest == before


def test_the_help_shows_examples_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """What people copy has to be there."""
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    for words in ("python -m rag_service.ingest handbook/", "--text-column", "--skip-bad", "exit codes: 0"):
        assert words in said


def test_two_corpora_are_one_too_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """PATH and --corpus mean the same; naming both is a mistake worth a sentence."""
    assert main([str(tmp_path), "--corpus", str(tmp_path), "--out", str(tmp_path / "index")]) == 2
    assert "two corpora" in capsys.readouterr().err


def test_a_target_that_cannot_be_made_ends_in_a_sentence(
    tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file where a folder is needed is no reason for a traceback."""
    (tmp_path / "file").write_text("x")
    assert main([str(corpus), "--out", str(tmp_path / "file" / "index")]) == 2
    assert "cannot be made" in capsys.readouterr().err


def test_only_an_index_is_replaced(tmp_path: Path, corpus: Path) -> None:
    """A mistyped --out must not delete somebody's folder, nor may an index become a part of its corpus."""
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.md").write_text("# Thesis")
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="holds other things than an index"):
        ingest(CorpusSource(corpus), tmp_path / "precious", _silent, Embedder().load)
    with pytest.raises(CorpusError, match="is a file"):
        ingest(CorpusSource(corpus), tmp_path / "file", _silent, Embedder().load)
    with pytest.raises(CorpusError, match="in its own corpus"):
        ingest(CorpusSource(tmp_path / "precious"), tmp_path / "precious" / "index", _silent, Embedder().load)
    assert (tmp_path / "precious" / "thesis.md").read_text() == "# Thesis"
    assert ingest(CorpusSource(corpus), tmp_path / "empty", _silent, Embedder().load).built


@pytest.mark.parametrize(
    "names",
    [
        ["manifest.json"],
        ["documents.parquet"],
        ["index.faiss"],
        ["manifest.json", "app.js"],
        ["manifest.json", "documents.parquet", "index.faiss", "notes.md"],
    ],
)
def test_a_folder_that_holds_a_name_of_an_index_is_not_yet_one(
    tmp_path: Path, corpus: Path, names: list[str]
) -> None:
    """Web applications have a manifest.json, too; whatever else lies in a folder would be gone."""
    folder = tmp_path / "precious"
    folder.mkdir()
    for name in names:
        (folder / name).write_text("mine")
    with pytest.raises(CorpusError, match="holds other things than an index"):
        ingest(CorpusSource(corpus), folder, _silent, Embedder().load)
    assert {item.name: item.read_text() for item in folder.iterdir()} == dict.fromkeys(names, "mine")


@pytest.mark.parametrize("corpus_path", [".", "documents.parquet", "docs", "../link"])
def test_a_corpus_is_never_replaced_by_its_own_index(tmp_path: Path, corpus: Path, corpus_path: str) -> None:
    """Neither the folder that is read nor one that holds what is read, whatever name it goes by."""
    out = tmp_path / "index"
    ingest(CorpusSource(corpus), out, _silent, Embedder().load)
    (tmp_path / "link").symlink_to(out)
    if corpus_path == "docs":
        (out / "docs").mkdir()
        (out / "docs" / "thesis.md").write_text("# Thesis")
    before = sorted(item.name for item in out.iterdir())
    with pytest.raises(CorpusError, match="lies in the index folder"):
        ingest(CorpusSource(out / corpus_path), out, _silent, Embedder().load)
    assert sorted(item.name for item in out.iterdir()) == before


def test_what_was_put_into_the_target_meanwhile_stays(tmp_path: Path, corpus: Path) -> None:
    """Embedding may take an hour; the folder is looked at again before it is replaced."""
    out = tmp_path / "index"
    out.mkdir()

    def load() -> Embed:
        (out / "thesis.md").write_text("# Thesis")
        return Embedder().load()

    with pytest.raises(CorpusError, match="holds other things than an index"):
        ingest(CorpusSource(corpus), out, _silent, load)
    assert [item.name for item in out.iterdir()] == ["thesis.md"]


def test_what_a_killed_ingest_left_is_tidied_away(tmp_path: Path, corpus: Path) -> None:
    """Half-written folders go; those of a neighbour with a similar name stay."""
    for name in (".index-abc_12yz", ".index-abc_12yz-old", ".index-2-embeddings", ".indexes-abcdefgh"):
        (tmp_path / name).mkdir()
    (tmp_path / ".index-abc_12yz" / "documents.parquet").write_bytes(b"PAR1")
    (tmp_path / ".index-settings").mkdir()  # eight letters, as mkdtemp's
    (tmp_path / ".index-settings" / "mine.toml").write_text("")
    ingest(CorpusSource(corpus), tmp_path / "index", _silent, Embedder().load)
    assert sorted(item.name for item in tmp_path.iterdir()) == [
        *[".index-2-embeddings", ".index-settings", ".indexes-abcdefgh", "corpus.jsonl", "index"]
    ]


def test_a_second_ingest_waits_for_the_first_and_finds_its_work_done(tmp_path: Path, corpus: Path) -> None:
    """Two at once would embed everything twice and rename into each other."""
    out, waits = tmp_path / "index", threading.Event()
    embedder = Embedder()

    def report(line: str) -> None:
        if "waiting" in line:
            waits.set()

    second = threading.Thread(target=ingest, args=(CorpusSource(corpus), out, report, embedder.load))
    with alone(out, _silent):
        second.start()
        assert waits.wait(30.0)
        assert not out.exists()
    second.join(30.0)
    assert load_documents(out).manifest.documents == 5
    assert embedder.loaded == 1


class _VectorDb(BaseHTTPRequestHandler):
    """Takes the new index."""

    paths: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.paths.append(self.path)
        self.send_response(200 if len(self.paths) == 1 else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Silent."""


def test_the_vector_db_is_told(tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A yes ends in 0; a no ends in 1 with what it said, as the index is built but not served."""
    out = tmp_path / "index"
    ingest(CorpusSource(corpus), out, _silent, Embedder().load)
    with HTTPServer(("127.0.0.1", 0), _VectorDb) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        told = ["--corpus", str(corpus), "--out", str(out), "--reload", url]
        assert main(told) == 0
        assert main(told) == 1
        server.shutdown()
    assert set(_VectorDb.paths) == {"/v1/collections/corpus/reload"}
    assert "answered 503" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["127.0.0.1:1", "http://127.0.0.1:1"])
def test_a_vector_db_that_does_not_take_it_is_named(
    tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    """The index is built all the same, so the exit code is another one and the sentence says what to do."""
    out = tmp_path / "index"
    ingest(CorpusSource(corpus), out, _silent, Embedder().load)
    assert main([str(corpus), "--out", str(out), "--reload", url]) == 1
    said = capsys.readouterr()
    assert "is up to date" in said.out
    assert url in said.err


def test_a_wrong_corpus_ends_the_command_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and no traceback."""
    assert main(["--corpus", str(tmp_path / "nope"), "--out", str(tmp_path / "index")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_loading_nothing_says_how_to_build(tmp_path: Path) -> None:
    """The error names the command that would help."""
    with pytest.raises(CorpusError, match=r"python -m rag_service\.ingest --out"):
        load_documents(tmp_path / "index")
