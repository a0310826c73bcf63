"""Hand one stage to the warm process (see `stages.warm`) and leave with its exit code.

Run by path, without the site packages: only the standard library, so that it starts at once.
"""

from __future__ import annotations

import json
import os
import socket
import sys


def main() -> int:
    """The stage's exit code; 75 when the warm process went away before the stage had ended."""
    asked = {"argv": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ)}
    with socket.socket(socket.AF_UNIX) as server:
        try:
            server.connect(os.environ["TDN_WARM"])
        except OSError:  # it ended and left its socket
            os.environ.pop("TDN_WARM")
            os.execv(sys.executable, [sys.executable, "-m", "stages", *sys.argv[1:]])
        message = json.dumps(asked).encode()
        socket.send_fds(server, [len(message).to_bytes(8, "big")], [0, 1, 2])
        server.sendall(message)
        try:
            answer = server.recv(64)
        except OSError:
            answer = b""
    if not answer:
        print("the warm process ended before the stage did; run again", file=sys.stderr)
        return 75
    code = int(answer)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
