"""`python -m bench.recall`: how often retrieval finds a document that answers, per leg and for both together.

recall@5 is the share of golden questions with at least one relevant document among the first five, as the
indicator `recall_at_5` has it. Index, embedder, BM25 and fusion are the service's own; only HTTP is left
out. `--check` holds the committed baseline: CI fails when a change makes retrieval worse or fusion pointless.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slo.statistics import wilson

ROOT = Path(__file__).parents[1]
QUESTIONS = ROOT / "journeys" / "golden_questions.jsonl"
BASELINE = ROOT / "bench" / "baselines" / "recall.json"
INDEX = ROOT / ".ragquake" / "index"

K = 5
LEGS = ("lexical", "vector", "hybrid")
#: Three questions of 325: other processors round the embedder's sums otherwise.
TOLERANCE_RATIO = 0.01
#: Another Python has other documents, so its figures are another measurement.
OTHER_CORPUS_TOLERANCE_RATIO = 0.04

EXIT_WORSE = 1
EXIT_UNUSABLE = 2


@dataclass(frozen=True, slots=True)
class Golden:
    """A question and the ids of the documents that answer it."""

    question: str
    relevant: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured: which questions each leg answered, over which documents."""

    stamp: str
    documents: int
    found: dict[str, tuple[bool, ...]]

    @property
    def questions(self) -> int:
        return len(self.found["hybrid"])

    def count(self, leg: str) -> int:
        return sum(self.found[leg])

    def recall_ratio(self, leg: str) -> float:
        return self.count(leg) / self.questions


@dataclass(frozen=True, slots=True)
class Baseline:
    """The figures that a change must not fall below."""

    stamp: str
    documents: int
    questions: int
    k: int
    recall_ratio: dict[str, float]


def load_golden(path: Path) -> tuple[Golden, ...]:
    """The golden questions, in their order."""
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return tuple(Golden(line["question"], tuple(line["relevant"])) for line in lines)


def measure(index_dir: Path, golden: Sequence[Golden]) -> Figures:
    """Ask every question on both legs and fuse them as the service does."""
    import faiss

    from rag_service.corpus.index import VECTORS_FILE
    from rag_service.ingest import load_sentence_transformer
    from rag_service.segments.documents import Scored
    from rag_service.segments.live_corpus import Corpus
    from rag_service.segments.retrieval import LEG_DEPTH, fuse

    corpus = Corpus.load(index_dir)
    vectors = load_sentence_transformer()([item.question for item in golden])
    scores, positions = faiss.read_index(str(index_dir / VECTORS_FILE)).search(vectors, LEG_DEPTH)
    found: dict[str, list[bool]] = {leg: [] for leg in LEGS}
    for item, row_scores, row in zip(golden, scores, positions, strict=True):
        near = zip(row, row_scores, strict=True)
        legs = {
            "vector": tuple(
                Scored(corpus.documents.all[at].id, float(score)) for at, score in near if at >= 0
            ),
            "lexical": corpus.lexical.search(item.question, LEG_DEPTH),
        }
        answers = legs | {"hybrid": fuse(legs, K)}
        for leg, hits in answers.items():
            found[leg].append(any(hit.id in item.relevant for hit in hits[:K]))
    return Figures(
        corpus.stamp, len(corpus.documents), {leg: tuple(answered) for leg, answered in found.items()}
    )


def render(figures: Figures) -> str:
    """The figures for people."""
    lines = [
        f"recall@{K} over {figures.questions} golden questions and {figures.documents} documents: "
        "a document that answers is among the first five",
        f"{'leg':8}  {'found':>5}  {'recall':>6}  95 % interval",
    ]
    for leg in LEGS:
        interval = wilson(figures.count(leg), figures.questions)
        lines.append(
            f"{leg:8}  {figures.count(leg):5}  {figures.recall_ratio(leg):6.3f}  "
            f"{interval.low:.3f} to {interval.high:.3f}"
        )
    for leg in LEGS[:-1]:
        pairs = list(zip(figures.found["hybrid"], figures.found[leg], strict=True))
        won, lost = pairs.count((True, False)), pairs.count((False, True))
        lines.append(f"hybrid finds {won} that {leg} alone misses, and misses {lost} that it finds")
    return "\n".join(lines)


def problems(figures: Figures, baseline: Baseline) -> tuple[str, ...]:
    """What is worse than it was, or than it has to be; empty when all is well."""
    found = []
    hybrid = figures.recall_ratio("hybrid")
    for leg in LEGS[:-1]:
        if hybrid <= figures.recall_ratio(leg):
            found.append(
                f"hybrid ({hybrid:.3f}) does not beat the {leg} leg alone ({figures.recall_ratio(leg):.3f}); "
                "see rag_service/segments/retrieval.py"
            )
    if baseline.questions != figures.questions or baseline.k != K:
        found.append(
            f"the baseline is over {baseline.questions} questions at k={baseline.k}, "
            f"this is {figures.questions} at k={K}; look at the figures, then write it anew with --write"
        )
        return tuple(found)
    same = baseline.stamp == figures.stamp
    tolerance = TOLERANCE_RATIO if same else OTHER_CORPUS_TOLERANCE_RATIO
    for leg in LEGS:
        before, now = baseline.recall_ratio[leg], figures.recall_ratio(leg)
        if now < before - tolerance:
            found.append(f"{leg} fell from {before:.3f} to {now:.3f}; at most {tolerance:g} is allowed")
    return tuple(found)


def load_baseline(path: Path) -> Baseline:
    """The committed baseline. Raises ValueError that says what is wrong with it."""
    try:
        return Baseline(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"the baseline {path} cannot be read ({error}); write it with --write") from None


def write_baseline(path: Path, figures: Figures) -> None:
    """Commit the figures as what later changes are held to."""
    ratios = {leg: round(figures.recall_ratio(leg), 6) for leg in LEGS}
    baseline = Baseline(figures.stamp, figures.documents, figures.questions, K, ratios)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(baseline), indent=2, sort_keys=True) + "\n", "utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Exit codes: 0 as good as the baseline, 1 worse, 2 it could not be measured."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.recall", description="Measure recall@5 of retrieval."
    )
    parser.add_argument(
        "--index", type=Path, default=INDEX, help="the index folder (default: .ragquake/index)"
    )
    parser.add_argument("--check", action="store_true", help="exit 1 when worse than the committed baseline")
    parser.add_argument("--write", action="store_true", help="make these figures the baseline")
    options: Any = parser.parse_args(arguments)
    from rag_service.corpus import CorpusError

    try:
        baseline = load_baseline(BASELINE) if options.check else None
        figures = measure(options.index, load_golden(QUESTIONS))
    except (CorpusError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_UNUSABLE
    print(render(figures))
    if options.write:
        write_baseline(BASELINE, figures)
    if baseline is None:
        return 0
    if baseline.stamp != figures.stamp:
        print(
            f"the baseline was measured on other documents (stamp {baseline.stamp[:12]}, "
            f"this is {figures.stamp[:12]}): it is held to within {OTHER_CORPUS_TOLERANCE_RATIO:g}"
        )
    worse = problems(figures, baseline)
    for problem in worse:
        print(f"worse: {problem}", file=sys.stderr)
    return EXIT_WORSE if worse else 0


if __name__ == "__main__":
    raise SystemExit(main())
