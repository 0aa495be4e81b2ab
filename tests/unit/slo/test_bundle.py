"""Reading what a crash left behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slo.bundle import Bundle, BundleError, read_json_lines, read_yaml


def test_lines_cut_at_any_byte_read_up_to_the_last_whole_one(tmp_path: Path):
    """A cut loses at most the last line, and is counted unless it took only the newline."""
    path = tmp_path / "attempts.jsonl"
    lines = [json.dumps({"n": n, "text": "ä {}"}, ensure_ascii=False).encode() + b"\n" for n in range(3)]
    whole = b"".join(lines)
    for end in range(len(whole) + 1):
        path.write_bytes(whole[:end])
        found = read_json_lines(path)
        ends = [sum(map(len, lines[: n + 1])) for n in range(3)]
        assert len(found.records) == sum(end >= one - 1 for one in ends)
        assert found.torn == (end not in (0, *ends, *(one - 1 for one in ends)))


def test_a_line_that_is_no_object_is_torn(tmp_path: Path):
    """Valid JSON that is not a record is not evidence."""
    path = tmp_path / "x.jsonl"
    path.write_text('1\n[]\n{"a": 1}\n\n')
    found = read_json_lines(path)
    assert (len(found.records), found.torn) == (1, 2)


def test_a_missing_or_broken_document_is_empty(tmp_path: Path):
    """An evaluation of a killed run goes on with what there is."""
    assert read_yaml(tmp_path / "none.yaml") == {}
    (tmp_path / "broken.yaml").write_text("a: [1,")
    assert read_yaml(tmp_path / "broken.yaml") == {}


def test_a_folder_without_a_journal_is_no_bundle(tmp_path: Path):
    """The complaint says what a bundle is."""
    with pytest.raises(BundleError, match="ragquake run"):
        Bundle.at(tmp_path)
    with pytest.raises(BundleError, match="not a folder"):
        Bundle.at(tmp_path / "gone")
