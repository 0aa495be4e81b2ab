"""Which modules of the standard library are worth asking about, as data.

Left out is what would double the time to build an index and answer nobody's question: tests and jokes,
graphical and terminal toolkits, modules that Python 3.12 and 3.13 removed (PEP 594, PEP 632), old network
protocols, and the inner modules of packages whose face is the package itself (`asyncio.run` is defined in
`asyncio.runners`). A name leaves out everything below it.
"""

from __future__ import annotations

_JOKES_TESTS_AND_BUILD = (
    "antigravity distutils ensurepip idlelib lib2to3 pydoc_data test this turtledemo venv "
    "xxlimited xxlimited_35 xxsubtype"
)
_TOOLKITS = "curses tkinter turtle"
_REMOVED = (
    "aifc asynchat asyncore audioop cgi cgitb chunk crypt imghdr imp mailcap msilib nis nntplib ossaudiodev "
    "pipes smtpd sndhdr spwd sunau telnetlib uu xdrlib"
)
_OLD_PROTOCOLS = "imaplib mailbox netrc optparse poplib wsgiref xmlrpc"
_INTERPRETER = (
    "ast bdb code codeop compileall copyreg dis encodings marshal modulefinder nturl2path opcode pdb "
    "pickletools profile py_compile pyclbr pydoc pyexpat rlcompleter site sre_compile sre_constants "
    "sre_parse symtable sysconfig tabnanny token tokenize trace zipimport"
)
_INNER = (
    "asyncio. multiprocessing. concurrent.futures. json. dbm. "
    "ctypes.macholib ctypes.wintypes email.base64mime email.charset email.contentmanager email.errors "
    "email.feedparser email.policy email.headerregistry email.iterators email.quoprimime importlib.abc "
    "importlib.machinery importlib.readers importlib.simple importlib.resources. re. unittest.util xml.dom "
    "xml.sax xml.parsers xml.etree.cElementTree"
)

_LEFT_OUT = frozenset(
    " ".join((_JOKES_TESTS_AND_BUILD, _TOOLKITS, _REMOVED, _OLD_PROTOCOLS, _INTERPRETER, _INNER)).split()
)
_KEPT_INNER = frozenset({"multiprocessing.shared_memory", "multiprocessing.pool", "multiprocessing.managers"})


# Classes whose methods say again what a better known class says.
TWINS = frozenset({"bytearray", "decimal.Context", "socket.SocketType"})


def in_scope(module: str) -> bool:
    """Whether the documentation of this module takes part in the corpus."""
    if module in _KEPT_INNER:
        return True
    parts = module.split(".")
    if any(part.startswith("_") for part in parts):
        return False
    for length in range(1, len(parts) + 1):
        prefix = ".".join(parts[:length])
        if prefix in _LEFT_OUT or (length < len(parts) and f"{prefix}." in _LEFT_OUT):
            return False
    return True
