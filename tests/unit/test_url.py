"""URLs of endpoints: what is taken, what is refused and in which words; both sides of each edge."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from relay.errors import UserMistake
from relay.url import check_url

LABEL_63, LABEL_64 = "a" * 63, "a" * 64
NAME_253 = ".".join([LABEL_63, LABEL_63, LABEL_63, "a" * 61])
NAME_254 = ".".join([LABEL_63, LABEL_63, LABEL_63, "a" * 62])

AS_GIVEN = [
    "https://example.com",
    "https://example.com/",
    "http://example.com/hook",
    "https://example.com/hook?token=a%20b&x=1;y=(2)*3,4+5!'~",
    "https://example.com?x=1",
    "https://example.com//double/../dots/./:@&=$",
    "https://example.com/a@b",
    "https://a",
    "https://localhost:8080/",
    "https://web_hook/",  # a service's name in a compose file
    "https://xn--bcher-kva.example/",
    "https://xn--i-7iq.ws",  # older than IDNA 2008, and in use
    "https://a-b.c--d.example",
    "https://1.example",
    "https://127.0.0.1.example",
    "https://3com",
    "https://0xyz",
    "https://a.0b",
    "https://1e3",
    f"https://{LABEL_63}.example",
    f"https://{NAME_253}/",
    "https://example.com:1",
    "https://example.com:65535/",
    "http://0.0.0.0",
    "http://127.0.0.1:8080/hook",
    "http://255.255.255.255",
    "http://[::1]:8080/hook",
    "http://[2001:db8::1]",
    "http://[::]",
    "https://example.com/" + "a" * (2048 - 20),
]


@pytest.mark.parametrize("url", AS_GIVEN)
def test_comes_back_as_given(url: str) -> None:
    assert check_url(url) == url


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("HTTPS://Example.COM/Hook?Q=A", "https://example.com/Hook?Q=A"),
        ("http://[2001:DB8::A]/", "http://[2001:db8::a]/"),
        ("https://Bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://bu\u0308cher.example/", "https://xn--bcher-kva.example/"),
        ("https://straße.example", "https://xn--strae-oqa.example"),
        ("https://例え.テスト/", "https://xn--r8jz45g.xn--zckzah/"),
        (
            "https://example.com/größe?q=ä 1".replace(" ", "%20"),
            "https://example.com/gr%C3%B6%C3%9Fe?q=%C3%A4%201",
        ),
        ('https://example.com/a[1]?"<>^`{|}\\', "https://example.com/a%5B1%5D?%22%3C%3E%5E%60%7B%7C%7D%5C"),
    ],
)
def test_is_stored_in_ascii(given: str, stored: str) -> None:
    assert check_url(given) == stored
    assert check_url(stored) == stored


@pytest.mark.parametrize(
    ("url", "says"),
    [
        # what it begins with
        ("", "does not begin with https:// or http://"),
        ("example.com/hook", "does not begin with"),
        ("//example.com/hook", "does not begin with"),
        ("ftp://example.com", "does not begin with"),
        ("file:///etc/passwd", "does not begin with"),
        ("gopher://example.com", "does not begin with"),
        ("https:example.com", "does not begin with"),
        ("https:/example.com", "does not begin with"),
        ("httpss://example.com", "does not begin with"),
        ("javascript:alert(1)", "does not begin with"),
        # no host
        ("https://", "names no host"),
        ("https:///hook", "names no host"),
        ("https://:80/", "names no host"),
        ("https://?x", "names no host"),
        ("https://[::1/", "names no host"),
        ("https://::1/", "names no host"),
        ("https://2001:db8::1/", "has a port that is none"),
        ("https://[::1]x/", "names no host"),
        # numbers that some resolver takes for an address
        (
            "http://2130706433/",
            "the host '2130706433' is neither a DNS name nor an address in canonical form",
        ),
        ("http://0x7f.1/", "canonical form"),
        ("http://0x7f000001/", "canonical form"),
        ("http://0x7f.0.0.0x1/", "canonical form"),
        ("http://0177.0.0.1/", "canonical form"),
        ("http://127.1/", "canonical form"),
        ("http://127.0.1/", "canonical form"),
        ("http://127.0.0.01/", "canonical form"),
        ("http://127.0.0.256/", "canonical form"),
        ("http://127.0.0.0.1/", "canonical form"),
        ("http://127.0.0.1e.0x/", "canonical form"),
        ("http://example.1/", "canonical form"),
        ("http://0/", "canonical form"),
        ("http://127.0.0.1./", "ends in a dot: leave out that dot"),
        ("http://localhost./", "ends in a dot"),
        ("http://example.com../", "ends in a dot"),
        ("http://./", "ends in a dot"),
        ("http://%31%32%37.0.0.1/", "percent-encoded"),
        ("http://example%2ecom/", "percent-encoded"),
        ("http://①②⑦.⓪.⓪.①/", "not a valid international name"),
        ("http://127。0。0。1/", "not a valid international name"),
        ("http://１２７.0.0.1/", "not a valid international name"),  # noqa: RUF001 - full width
        ("http://ｅxample.com/", "not a valid international name"),  # noqa: RUF001 - full width
        ("http://١٢٧.0.0.1/", "not a valid international name"),
        ("http://exa\u00admple.com/", "not a valid international name"),  # a soft hyphen
        ("http://exa\u200bmple.com/", "not a valid international name"),  # a space of no width
        ("http://evil.com\u2044x.example/", "not a valid international name"),  # looks like a slash
        # IPv6
        ("http://[::ffff:127.0.0.1]/", "an IPv4 address in disguise: write 127.0.0.1"),
        ("http://[::ffff:7f00:1]/", "an IPv4 address in disguise: write 127.0.0.1"),
        ("http://[0:0:0:0:0:0:0:1]/", "not in canonical form: write [::1]"),
        ("http://[2001:db8::0001]/", "write [2001:db8::1]"),
        ("http://[fe80::1%25eth0]/", "names a network interface"),
        ("http://[fe80::1%eth0]/", "names a network interface"),
        ("http://[::g]/", "is not an IPv6 address"),
        ("http://[]/", "is not an IPv6 address"),
        ("http://[127.0.0.1]/", "is not an IPv6 address"),
        ("http://[v1.x]/", "is not an IPv6 address"),
        # names
        ("http://-a.example/", "is not a DNS name"),
        ("http://a-.example/", "is not a DNS name"),
        ("http://a..example/", "is not a DNS name"),
        ("http://.example/", "is not a DNS name"),
        ("http://a,b/", "is not a DNS name"),
        ("http://a*b/", "is not a DNS name"),
        ("http://a\\b/", "is not a DNS name"),
        (f"http://{LABEL_64}.example/", "has 64 characters: between two dots stand 63 at most"),
        (f"http://{NAME_254}/", "has 254 characters: a DNS name has 253 at most"),
        # ports
        ("http://example.com:/", "has a port that is none: give a number from 1 to 65535"),
        ("http://example.com:0/", "port that is none"),
        ("http://example.com:65536/", "port that is none"),
        ("http://example.com:080/", "port that is none"),
        ("http://example.com:-1/", "port that is none"),
        ("http://example.com:+80/", "port that is none"),
        ("http://example.com:80:80/", "port that is none"),
        ("http://example.com:٨٠/", "port that is none"),
        ("http://example.com:http/", "port that is none"),
        # parts that have no place
        ("https://example.com/#top", "has a fragment: leave out what begins with #"),
        ("https://example.com#", "has a fragment"),
        ("https://example.com/a b", "holds the character ' '"),
        (" https://example.com/", "holds the character ' '"),
        ("https://example.com/\n", "holds the character '\\n'"),
        ("https://example.com/\r\nX-Evil: 1", "holds the character '\\r'"),
        ("https://exam\tple.com/", "holds the character '\\t'"),
        ("https://example.com/\0", "holds the character '\\x00'"),
        ("https://example.com/\x7f", "holds the character '\\x7f'"),
        ("https://example.com/\u00a0", "holds the character '\\xa0'"),
        ("https://example.com/\u2028", "holds the character '\\u2028'"),
        ("https://example.com/\ud800", "holds the character '\\ud800'"),
        ("https://example.com/%", "holds '%': two hexadecimal digits follow a %"),
        ("https://example.com/100%?x", "holds '%?x'"),
        ("https://example.com/?a=%zz", "holds '%zz'"),
        ("https://example.com/" + "a" * (2048 - 19), "has 2049 characters: give 2048 at most"),
        ("https://example.com/" + "ä" * 400, "has 2420 characters when encoded"),
    ],
)
def test_refuses(url: str, says: str) -> None:
    with pytest.raises(UserMistake) as caught:
        check_url(url)
    message = str(caught.value)
    assert says in message
    assert caught.value.remedy
    assert message.isprintable()
    assert message.isascii()
    assert len(message) < 300


@pytest.mark.parametrize(
    "url",
    [
        "https://user:hunter2@example.com/",
        "https://hunter2@example.com/",
        "https://:hunter2@example.com/",
        "https://user:hunter2@",
        "https://user:hunter2%40x@example.com/",
        "https://user:hunter2@evil@example.com/",
        "https://example.com\\hunter2@evil.example/",
        "https://user:hunter2 x@example.com/",
        "https://user:hunter2/x@example.com/",
        "https://user:hunter2#x@example.com/",
        "ftp://user:hunter2@example.com/",
        "user:hunter2@example.com",
        "https://user:hunter2@example.com/" + "a" * 3000,
    ],
)
def test_a_password_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(UserMistake) as caught:
        check_url(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", [url for url in AS_GIVEN if "%" not in url])
def test_the_client_dials_the_host_that_was_checked(url: str) -> None:
    host = url.split("://")[1].split("?")[0].split("/")[0]
    assert URL(url).host_subcomponent == (host if host.endswith("]") else host.partition("]")[0] and _no_port(host))


def _no_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


@given(
    st.text(st.characters(exclude_categories=()), max_size=40),
    st.sampled_from(["", "http://", "https://a.example/"]),
)
def test_what_is_taken_reads_the_same_everywhere(text: str, before: str) -> None:
    try:
        url = check_url(before + text)
    except UserMistake:
        return
    assert url.isascii()
    assert url.isprintable()
    assert " " not in url
    assert check_url(url) == url
    parsed = URL(url)
    assert parsed.scheme in ("http", "https")
    assert parsed.user is None
    assert parsed.raw_host is not None
    assert not parsed.raw_fragment
    assert url.startswith(f"{parsed.scheme}://{parsed.host_subcomponent}")
