"""Level 0: is a signature that is there that of its file, and by whom?

Signatures are those of `ssh-keygen -Y sign` (docs/audit.md); the namespace keeps them apart from
signatures that the same key gives for anything else.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

from pipeline.audit.context import Context
from pipeline.audit.links import Level, Link, Status, checked, some
from pipeline.core.errors import TdnError, UsageError
from pipeline.lineage import root

NAMESPACE = "tdn-root"


def check(context: Context, signers: Path | None) -> Iterator[Link]:
    """One link per signature, and one on whether what was signed is what is here.

    `signers`: whose signatures count (a file as of ssh-keygen's ALLOWED SIGNERS); then there must
    be one by them. Without it anybody's counts, and the key is named.
    """
    signed = False
    for path in (root.signed_path(context.work), root.root_path(context.work)):
        signature = signature_path(path)
        if not signature.exists():
            continue
        signed, place = True, context.work.relative(signature)
        try:
            by, wrong = verify(path, signers), list[str]()
        except (TdnError, OSError) as error:
            by, wrong = "", [error.what if isinstance(error, TdnError) else str(error)]
        do = "restore the file and its signature, or remove both and sign again: `tdn sign`"
        status = Status.ROOT_MISMATCH if wrong else Status.OK
        detail, do = (some(wrong), do) if wrong else (f"by {by}", "")
        yield Link(Level.LOCK, "signature", "signs", place, status, detail=detail, do=do)
    path = root.signed_path(context.work)
    place = context.work.relative(path)
    if signers is not None and not signed:
        detail, do = "nothing is signed here", "sign it (`tdn sign`), or leave out --signers"
        yield Link(Level.LOCK, "signature", "signs", place, Status.MISSING, detail=detail, do=do)
    if path.exists():
        stated = root.read_root_file(path)
        if stated is None:
            detail = "it does not parse"
            yield Link(Level.LOCK, "signed", "covers", place, Status.UNREADABLE, detail=detail)
            return
        wrong = root.differences(stated, context.everything)
        if not wrong and stated["root"] != context.everything["root"]:
            wrong = ["what it says it covers was edited"]
        wrong = [f"not what was signed: {some(wrong)}"] if wrong else []
        do = "restore what was signed, or sign what is here: `tdn sign`"
        yield checked(
            Level.LOCK, "signed", "covers", place, wrong, Status.UNSIGNED, do,
            stated["root"], context.everything["root"],
        )  # fmt: skip


def signature_path(path: Path) -> Path:
    """Where the signature of a file lies."""
    return path.with_name(path.name + ".sig")


def verify(path: Path, signers: Path | None = None) -> str:
    """Who signed a file; UsageError when nobody did whose signature counts (see `check`)."""
    content, signature = path.read_bytes(), str(signature_path(path))
    if signers is None:
        words = ["-Y", "check-novalidate", "-n", NAMESPACE, "-s", signature]
        found = _ssh_keygen(words, content).strip().rpartition(" with ")[2]
        return f"{found}; whose it is, --signers would tell"
    known = _ssh_keygen(["-Y", "find-principals", "-f", str(signers), "-s", signature])
    name = known.strip().splitlines()[0]
    words = ["-Y", "verify", "-f", str(signers), "-I", name, "-n", NAMESPACE, "-s", signature]
    _ssh_keygen(words, content)
    return name


def sign(path: Path, key: Path) -> bytes:
    """The signature of a file by an SSH key; UsageError when ssh-keygen refuses."""
    words = ["-q", "-Y", "sign", "-f", str(key), "-n", NAMESPACE]
    return _ssh_keygen(words, path.read_bytes()).encode()


def _ssh_keygen(words: list[str], given: bytes = b"") -> str:
    try:
        done = subprocess.run(
            ["ssh-keygen", *words], input=given, capture_output=True, timeout=60, check=False
        )
    except FileNotFoundError:
        do = "install OpenSSH (8.2 or later)"
        raise UsageError("there is no ssh-keygen to handle signatures with", do=do) from None
    if done.returncode:
        text = (done.stderr + done.stdout).decode("utf-8", "replace").strip()
        what = text.splitlines()[-1] if text else "no signature by any of the signers"
        raise UsageError(f"ssh-keygen: {what}", do="look at the key, the signature and the signers")
    return done.stdout.decode("utf-8", "replace")
