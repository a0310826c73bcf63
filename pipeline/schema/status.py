"""What has become of a listed video, in one word: the same words in ledger, stores and scores.

    word        given by           meaning
    ok          check, decode      the file is there; every frame is stored
    partial     decode             some frames are missing or damaged; the reason has both counts
    short       decode, flow       fewer frames than the manifest's minimum (for flow: than two)
    empty       check, decode      a file without bytes, or a video without frames
    error       decode, flow       it cannot be decoded
    unreadable  check              the system refuses to read the file
    missing     check              a list names it, and there is no file
    refused     check              the lists contradict themselves about it, or its name is unsafe
    skipped     check              it is in no split that is decoded, or not in the declared subset
    unlisted    check              a file that no list names

Every video that has no frames has a reason in words beside its status.
"""

USABLE = ("ok", "partial")
"""It has frames."""

FAILED = ("missing", "refused", "unreadable", "empty", "short", "error")
"""It should have frames and has none; `max_failed_fraction` of the manifest limits their number."""

NOT_WANTED = ("skipped", "unlisted")
"""It is not to be decoded, and counts neither as usable nor as failed."""
