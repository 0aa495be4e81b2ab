"""What Go's `encoding/json` says about a body that is no JSON, to the letter.

Clients of Toxiproxy show or match these messages. Python's decoder stops at the same bytes but has other
words, so this scanner runs only after it has refused a body. The words are those of Go 1.23, measured
through Toxiproxy 2.12.0 (`tests/contract/toxiproxy`).
"""

from __future__ import annotations

_MAX_DEPTH = 10_000
_SPACE = b" \t\r\n"
_DIGITS = b"0123456789"
_HEX = b"0123456789abcdefABCDEF"
_LITERALS = {b"t": b"true", b"f": b"false", b"n": b"null"}
_TORN = "unexpected EOF"


class _Wrong(Exception):
    """The scan ends here; the message is Go's."""


def complaint(body: bytes) -> str | None:
    """Why Go would not decode the first value of `body`; `None` when it would."""
    if not body.strip(_SPACE):
        return "EOF"
    try:
        _scan(body)
    except _Wrong as wrong:
        return str(wrong)
    return None


def _scan(body: bytes) -> None:
    """One value, without recursion: `need` is what may come next, `inside` the open brackets."""
    inside: list[bytes] = []
    need = "value"
    at = 0
    while True:
        while body[at : at + 1] and body[at : at + 1] in _SPACE:
            at += 1
        here = body[at : at + 1]
        if need == "after":
            if not inside:
                return
            in_object = inside[-1] == b"{"
            if here == b",":
                need = "key" if in_object else "value"
            elif here == (b"}" if in_object else b"]"):
                inside.pop()
            else:
                raise _wrong(here, "after object key:value pair" if in_object else "after array element")
            at += 1
        elif need == "colon":
            if here != b":":
                raise _wrong(here, "after object key")
            need = "value"
            at += 1
        elif (here == b"]" and need == "value or ]") or (here == b"}" and need == "key or }"):
            inside.pop()
            need = "after"
            at += 1
        elif need.startswith("key"):
            if here != b'"':
                raise _wrong(here, "looking for beginning of object key string")
            at = _string(body, at)
            need = "colon"
        elif here and here in b"{[":
            inside.append(here)
            if len(inside) > _MAX_DEPTH:
                raise _wrong(here, "exceeded max depth")
            need = "key or }" if here == b"{" else "value or ]"
            at += 1
        else:
            at = _scalar(body, at)
            need = "after"


def _scalar(body: bytes, at: int) -> int:
    here = body[at : at + 1]
    if here == b'"':
        return _string(body, at)
    if here in _LITERALS:
        literal = _LITERALS[here]
        for index in range(1, len(literal)):
            got = body[at + index : at + index + 1]
            if got != literal[index : index + 1]:
                raise _wrong(got, f"in literal {literal.decode()} (expecting {chr(literal[index])!r})")
        return at + len(literal)
    if here == b"-" or (here and here in _DIGITS):
        return _number(body, at)
    raise _wrong(here, "looking for beginning of value")


def _number(body: bytes, at: int) -> int:
    if body[at : at + 1] == b"-":
        at += 1
        _digit(body, at, "in numeric literal")
    at = at + 1 if body[at : at + 1] == b"0" else _digits(body, at)
    if body[at : at + 1] == b".":
        at = _digits(body, _digit(body, at + 1, "after decimal point in numeric literal"))
    if body[at : at + 1] in (b"e", b"E"):
        at += 1
        if body[at : at + 1] in (b"+", b"-"):
            at += 1
        at = _digits(body, _digit(body, at, "in exponent of numeric literal"))
    return at


def _digit(body: bytes, at: int, where: str) -> int:
    here = body[at : at + 1]
    if not here or here not in _DIGITS:
        raise _wrong(here, where)
    return at


def _digits(body: bytes, at: int) -> int:
    while body[at : at + 1] and body[at : at + 1] in _DIGITS:
        at += 1
    return at


def _string(body: bytes, at: int) -> int:
    at += 1
    while True:
        here = body[at : at + 1]
        if here == b'"':
            return at + 1
        if here == b"\\":
            at += 1
            escaped = body[at : at + 1]
            if escaped == b"u":
                for index in range(1, 5):
                    digit = body[at + index : at + index + 1]
                    if not digit or digit not in _HEX:
                        raise _wrong(digit, "in \\u hexadecimal character escape")
                at += 4
            elif not escaped or escaped not in b'bfnrt\\/"':
                raise _wrong(escaped, "in string escape code")
        elif not here or here < b" ":
            raise _wrong(here, "in string literal")
        at += 1


def _wrong(here: bytes, where: str) -> _Wrong:
    return _Wrong(f"invalid character {_quoted(here)} {where}" if here else _TORN)


def _quoted(byte: bytes) -> str:
    """As Go quotes a byte: `'a'`, `'\\''`, `'\\x01'`, `'\\n'`."""
    special = {b"'": "\\'", b'"': '"', b"\a": "\\a", b"\b": "\\b", b"\f": "\\f", b"\v": "\\v"}
    character = byte.decode("latin-1")
    return f"'{special.get(byte) or repr(character)[1:-1]}'"
