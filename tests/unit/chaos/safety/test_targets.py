"""Which addresses may be hurt, and that the decided one is the one that is dialled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.safety.targets import (
    LOOPBACK_ONLY,
    Allowed,
    TargetRefused,
    decide_address,
    decide_url,
    parse_allowed,
    require_listed,
    system_resolve,
)

NONE_LISTED = Allowed(listed_in="staging.yaml")


class Names:
    """A resolver that can change its mind, and counts how often it was asked."""

    def __init__(self, **answers: Sequence[str]) -> None:
        self.answers = {name.replace("_", "."): list(said) for name, said in answers.items()}
        self.asked: list[str] = []

    def __call__(self, name: str) -> Sequence[str]:
        self.asked.append(name)
        if name not in self.answers:
            raise OSError("Name or service not known")
        return self.answers[name]


def _listed(*entries: str, owned: bool = False) -> Allowed:
    return parse_allowed(entries, "staging.yaml", owned=owned)


def _refused(url: str, allowed: Allowed = NONE_LISTED, names: Names | None = None) -> str:
    with pytest.raises(TargetRefused) as refusal:
        decide_url("service.url", url, allowed, names or Names())
    return str(refusal.value)


def test_loopback_needs_no_list_and_comes_out_in_one_form() -> None:
    """However it is written, this machine may be hurt, and its one form is what is dialled."""
    for url in ("http://127.0.0.1:8080", "HTTP://2130706433:8080/", "http://[::ffff:127.0.0.1]:8080"):
        assert decide_url("service.url", url).url == "http://127.0.0.1:8080"
    assert decide_address("telemetry.listen", "[::1]:4318").address == "[::1]:4318"
    assert decide_url("service.url", "http://127.0.0.1/base/path/").url == "http://127.0.0.1:80/base/path"


def test_localhost_is_believed_only_as_far_as_it_resolves_to_this_machine() -> None:
    """A name is a name: in a container or with an odd hosts file even localhost may lead elsewhere."""
    assert (
        decide_url("u", "http://localhost:1", resolve=Names(localhost=["127.0.0.1"])).address == "127.0.0.1:1"
    )
    message = _refused("http://localhost:1", names=Names(localhost=["10.0.0.7"]))
    assert "(localhost is 10.0.0.7)" in message


def test_any_other_address_must_be_listed_exactly() -> None:
    """Neither the host with another port, nor a neighbour, nor a shorter notation in the list is enough."""
    url = "http://10.0.0.12:8080"
    assert decide_url("service.url", url, _listed("10.0.0.12:8080")).url == url
    assert decide_url("service.url", url, _listed("0xa00000c:8080")).url == url
    for entry in ("10.0.0.12:80", "10.0.0.1:8080", "10.0.0.120:8080", "staging.internal:8080"):
        assert "10.0.0.12:8080" in _refused(url, _listed(entry))


def test_a_refusal_says_what_which_what_is_allowed_and_what_to_do() -> None:
    """The message can be acted on without opening a manual."""
    message = _refused(
        "http://staging.internal:8080", _listed("10.0.0.1:1"), Names(staging_internal=["10.0.0.12"])
    )
    for part in (
        "service.url: 'http://staging.internal:8080'",
        "staging.internal is 10.0.0.12",
        "10.0.0.12:8080, which is not this machine",
        "loopback",
        "(10.0.0.1:1)",
        "staging.yaml: allow_targets: [10.0.0.12:8080]",
    ):
        assert part in message
    assert "tunnel" in _refused("http://10.0.0.12:8080", LOOPBACK_ONLY)
    assert 'allow_targets: ["[fd12::1]:80"]' in _refused("http://[fd12::1]")


@pytest.mark.parametrize(
    "host", ["169.254.1.1", "169.254.169.254", "8.8.8.8", "[fd00:ec2::254]", "[fe80::1]"]
)
def test_link_local_metadata_and_public_addresses_want_their_owner_as_well(host: str) -> None:
    """Listing is not enough where a slip would hit a cloud's metadata or somebody else's machine."""
    url, entry = f"http://{host}:80", f"{host}:80"
    assert "--i-own-this-target" in _refused(url, _listed(entry))
    assert "allow_targets: [" in _refused(url, Allowed(owned=True, listed_in="staging.yaml"))
    assert decide_url("service.url", url, _listed(entry, owned=True)).address == entry


def test_each_address_of_a_name_must_be_allowed_and_the_first_is_dialled() -> None:
    """A name with one good and one bad address is refused: nobody knows which of them is dialled."""
    allowed = _listed("10.0.0.12:80", "10.0.0.13:80")
    both = Names(staging=["10.0.0.12", "10.0.0.13"])
    assert decide_url("service.url", "http://staging", allowed, both).address == "10.0.0.12:80"
    assert "10.0.0.99:80" in _refused("http://staging", allowed, Names(staging=["10.0.0.12", "10.0.0.99"]))
    assert "10.0.0.99:80" in _refused("http://staging", allowed, Names(staging=["::ffff:10.0.0.99"]))
    assert "no address" in _refused("http://staging", allowed, Names(staging=[]))
    assert "cannot be resolved" in _refused("http://staging", allowed)


def test_a_name_that_resolves_elsewhere_later_changes_nothing() -> None:
    """What was decided is an address: the name is asked once, and what it says next is never heard."""
    names = Names(staging=["127.0.0.1"])
    target = decide_url("service.url", "http://staging:8080", NONE_LISTED, names)
    names.answers["staging"] = ["10.0.0.66"]
    assert target.url == "http://127.0.0.1:8080"
    assert names.asked == ["staging"]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1@evil.com/",
        "http://127.0.0.1:80@evil.com/",
        "http://user:secret@127.0.0.1/",
        "http://127.0.0.1\\@evil.com/",
        "http://127.0.0.1#@evil.com/",
        "http://127.0.0.1/?to=http://evil.com",
        "http://127.0.0.1/../admin?x",
        "http://127.0.0.1 evil.com",
        "http://127.0.0.1\n.evil.com",
        "http://127.0.0.1\t@evil.com",
        "http:\\\\127.0.0.1",
        "http:/127.0.0.1",
        "//127.0.0.1",
        "https://127.0.0.1",
        "ftp://127.0.0.1",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:0",
        "http://127.0.0.1:١",
        "http://127.0.0.1:",
        "http://127.0.0.1:80:80",
        "http://[127.0.0.1]",
        "http://[::1",
        "http://::1",
        "http://[::1].evil.com",
        "http://[::1%25lo]",
        "http://",
        "http:///path",
        "",
    ],
)
def test_a_url_that_two_programs_could_read_differently_is_refused(url: str) -> None:
    """Userinfo, backslashes, escapes, odd ports and half brackets: only HTTP://HOST:PORT/PATH is read."""
    message = _refused(url, _listed("8.8.8.8:80", owned=True), Names(**{"evil_com": ["127.0.0.1"]}))
    assert message.startswith("service.url: ")
    assert "secret" not in message


SPELLS_LOOPBACK = IPv4Address("0.0.0.1")
"""Its IPv4-compatible notation, [::0.0.0.1], is ::1 itself."""
OTHERS = (
    st.integers(0, 2**32 - 1)
    .map(IPv4Address)
    .filter(lambda one: not one.is_loopback and one != SPELLS_LOOPBACK)
)
WAYS = st.sampled_from(
    [
        str,
        lambda one: f"{one}.",
        lambda one: str(int(one)),
        lambda one: hex(int(one)),
        lambda one: f"0{int(one):o}",
        lambda one: f"{int(one) >> 24}.{int(one) & 0xFFFFFF}",
        lambda one: ".".join(f"0{byte:o}" for byte in one.packed),
        lambda one: ".".join(hex(byte) for byte in one.packed),
        lambda one: f"[::ffff:{one}]",
        lambda one: f"[{IPv6Address((0xFFFF << 32) + int(one)).exploded}]",
        lambda one: f"[::{one}]",
        lambda one: f"[64:ff9b::{one}]",
        lambda one: f"127.0.0.1@{one}",
        lambda one: f"[::1]@{one}",
    ]
)


@given(OTHERS, WAYS, st.integers(1, 65535))
def test_no_notation_of_another_machine_passes_as_loopback(
    other: IPv4Address, way: Callable[[IPv4Address], str], port: int
) -> None:
    """The property that all else here is for."""
    with pytest.raises(TargetRefused):
        decide_url("service.url", f"http://{way(other)}:{port}", NONE_LISTED, Names())


@given(st.integers(0, 2**128 - 1).map(IPv6Address))
def test_no_ipv6_address_but_loopback_passes_as_loopback(other: IPv6Address) -> None:
    """A mapped address is what it maps to; of all others ::1 alone is this machine."""
    try:
        target = decide_url("service.url", f"http://[{other}]:80", NONE_LISTED, Names())
    except TargetRefused:
        return
    assert target.ip.is_loopback and (other.ipv4_mapped or other).is_loopback


@given(st.text(max_size=40), st.lists(st.ip_addresses(), max_size=3))
def test_whatever_is_written_only_this_machine_comes_out_without_a_list(
    text: str, found: list[object]
) -> None:
    """Fuzz: any text as a URL, any answer of the resolver: a sentence or loopback, never anything else."""

    def resolve(_name: str) -> list[str]:
        return [str(one) for one in found]

    for url in (text, f"http://{text}"):
        try:
            target = decide_url("service.url", url, NONE_LISTED, resolve)
        except TargetRefused:
            continue
        assert target.ip.is_loopback
        assert ip_address(str(target.ip)) == target.ip


@pytest.mark.parametrize(
    "entry", ["10.0.0.0/8", "*", "*:80", "10.0.0.12", "http://10.0.0.12:80", "10.0.0.12:*", "0.0.0.0:80", ""]
)
def test_the_list_takes_no_ranges_wildcards_or_urls(entry: str) -> None:
    """Exactly means exactly; each bad entry is named."""
    with pytest.raises(TargetRefused, match="allow_targets: '"):
        _listed("10.0.0.1:80", entry)


def test_what_others_dial_is_loopback_in_words_or_listed_in_the_same_words() -> None:
    """A proxy that runs already resolves its upstream itself, so its name for it is what must be allowed."""
    require_listed("upstream", "127.0.0.1:7100", NONE_LISTED)
    require_listed("upstream", "localhost:7100", NONE_LISTED)
    require_listed("upstream", "vector-db:7100", _listed("Vector-DB:7100"))
    for text, allowed in (
        ("vector-db:7100", NONE_LISTED),
        ("vector-db:7101", _listed("vector-db:7100")),
        ("10.0.0.1:7100", NONE_LISTED),
        ("0x0a000001:7100", NONE_LISTED),
    ):
        with pytest.raises(TargetRefused, match="allow_targets"):
            require_listed("upstream", text, allowed)


def test_the_machines_own_resolver_puts_ipv4_first() -> None:
    """Of localhost's two addresses the one is dialled on which most servers listen."""
    assert system_resolve("localhost")[0] in ("127.0.0.1", "::1")
    assert ip_address(system_resolve("127.0.0.1")[0]).is_loopback
