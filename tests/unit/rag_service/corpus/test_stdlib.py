"""The standard library's documentation as a corpus."""

import sys
from collections import Counter

import pytest

from rag_service.corpus.document import Document, stamp_of
from rag_service.corpus.stdlib import stdlib_documents


@pytest.fixture(scope="module")
def documents() -> dict[str, Document]:
    return {document.id: document for document in stdlib_documents()}


def test_the_same_python_gives_the_same_documents_in_the_same_order(documents: dict[str, Document]) -> None:
    """Two readings have one stamp."""
    assert stamp_of(documents.values(), "model") == stamp_of(stdlib_documents(), "model")


def test_no_memory_address_gets_into_a_document(documents: dict[str, Document]) -> None:
    """An address would change the stamp with every process."""
    assert not [item.id for item in documents.values() if " at 0x" in item.title]


def test_it_is_large_enough_to_search_and_small_enough_to_embed(documents: dict[str, Document]) -> None:
    """A few thousand documents: a real search problem that is embedded in well under a minute."""
    assert 2500 < len(documents) < 4500


@pytest.mark.parametrize(
    "public_id",
    [
        "json.JSONDecoder",  # re-exported by its package
        "asyncio.run",  # re-exported with a star
        "random.randint",  # a bound method with a module's name
        "os.path.join",  # a module under another name
        "os.walk",  # exported by a computed __all__
        "math.gcd",  # an extension module
        "str.split",  # a builtin's method
        "threading.Lock",  # an alias of a private module's function
        "hashlib",  # a docstring assigned to __doc__
        "struct",  # a docstring imported from the module behind
        "concurrent.futures.ThreadPoolExecutor",  # imported on demand
        "language.with",  # a topic of the language
    ],
)
def test_things_are_found_under_the_names_people_use(documents: dict[str, Document], public_id: str) -> None:
    """The shortest public name leads to the definition, however it came to have it."""
    assert public_id in documents


@pytest.mark.parametrize(
    "hidden", ["json.decoder.JSONDecoder", "asyncio.runners.run", "test", "this", "tkinter"]
)
def test_inner_names_and_modules_out_of_scope_do_not_appear(
    documents: dict[str, Document], hidden: str
) -> None:
    """One definition is one document."""
    assert hidden not in documents


def test_reading_it_imports_no_module_that_is_written_in_python(documents: dict[str, Document]) -> None:
    """Importing antigravity opens a browser: source is parsed, never run."""
    assert documents
    assert not {"antigravity", "this", "tkinter", "idlelib", "turtle"} & sys.modules.keys()


def test_no_document_is_too_long_for_a_prompt(documents: dict[str, Document]) -> None:
    """Long docstrings come in parts that carry the number of the part."""
    assert max(len(item.text) for item in documents.values()) <= 1600
    parts = Counter(public_id.partition("/")[0] for public_id in documents)
    assert max(parts.values()) > 3
