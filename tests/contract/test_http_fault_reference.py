"""The page on faults on requests names every type, attribute, bound and default, and no others."""

from __future__ import annotations

import re
from pathlib import Path

from chaos.proxy.http.fault_set import MAX_FAULTS
from chaos.proxy.http.faults import Parameter, http_fault_kinds
from chaos.proxy.http.routes import MAX_COUNT

PAGE = (Path(__file__).parents[2] / "docs/reference/http-faults.md").read_text()


def written(parameter: Parameter) -> str:
    """A parameter as the page has it."""
    text = f"`{parameter.name}`"
    if parameter.choices:
        text += " " + " or ".join(f"`{choice}`" for choice in parameter.choices)
    elif parameter.kind is not str:
        text += f" {_plain(parameter.least)} to {_plain(parameter.most)}"
    if parameter.default is not None:
        text += (
            f" (`{parameter.default}`)" if parameter.kind is str else f" ({_plain(float(parameter.default))})"
        )
    return text


def _plain(number: float) -> str:
    return f"{int(number)}" if number == int(number) else f"{number}"


def test_the_page_has_every_type_with_its_attributes() -> None:
    """The table's rows are the registered types, in any order, each with its parameters in theirs."""
    rows = dict(re.findall(r"^\| `(\w+)` \| (`.*?) \| .* \|$", PAGE.partition("| type |")[2], re.MULTILINE))
    expected = {
        name: ", ".join(written(parameter) for parameter in kind.parameters)
        for name, kind in http_fault_kinds().items()
    }
    assert rows == expected


def test_the_page_has_the_bounds() -> None:
    """How many faults a proxy takes, and how high a count goes."""
    assert f"A proxy takes {MAX_FAULTS} of them" in PAGE
    assert f"1 to {MAX_COUNT}" in PAGE
