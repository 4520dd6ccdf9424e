"""A session that does what no session should; run in workers, so syntax of Python 3.8."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from tests.bridge.factories import Session, Types


def descriptor():
    """The worker's connection."""
    return int(sys.argv[sys.argv.index("--fd") + 1])


def sleeping_child(**more):
    """A process that outlives a worker unless somebody ends it; its id."""
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], **more).pid


class Wild(Session):
    """Does what its paths say."""

    types = Types

    def stat_path(self, path):
        return getattr(self, path[1:], lambda: {"path": path})() or {"path": path}

    def leave(self):
        os._exit(7)

    def crash(self):
        os.kill(os.getpid(), signal.SIGSEGV)

    def garbage(self):
        os.write(descriptor(), b"\0\0\0\x05oops!")

    def number(self):
        os.write(descriptor(), b"\0\0\0\x0212")

    def endless(self):
        os.write(descriptor(), b"\xff\xff\xff\xff")

    def half(self):
        os.write(descriptor(), b"\0\0\0\x50{")
        os._exit(8)

    def other(self):
        body = b'{"id": 99, "ok": {}}'
        os.write(descriptor(), len(body).to_bytes(4, "big") + body)
        time.sleep(60)

    def said(self):
        print("said by print")
        sys.stdout.flush()
        os.write(1, b"said on 1\n")
        os.write(2, b"said \x00\x1b[31m\xff\xfe in binary\n")
        os.system("echo said by a child")

    def long_line(self):
        os.write(2, b"said " + b"x" * 1000000 + b"\n")
        os.write(2, b"said next\n")

    def child(self):
        return {"pid": sleeping_child()}

    def own_group(self):
        return {"pid": sleeping_child(start_new_session=True)}

    def forked(self):
        """A child that has copies of all descriptors, and the worker ends."""
        if os.fork() == 0:
            time.sleep(60)
        os._exit(9)

    def forked_away(self):
        """The same, and nobody can end the child with the worker."""
        pid = os.fork()
        if pid == 0:
            os.setsid()
            time.sleep(60)
        return {"pid": pid}

    def retry_for_an_hour(self):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("said under way")
        end = time.time() + 3600
        while time.time() < end:
            try:
                time.sleep(1)
                raise ConnectionError("again")
            except Exception as exc:
                print("retrying:", exc)


def make():
    """The factory."""
    print("said before all")
    return Wild()


make.types = Types  # type: ignore[attr-defined]


class InvalidCredentials(Exception):
    """Named as the documented one."""


class TokenBearer(Wild):
    """Reads its token once; which one is good stands in another file."""

    def __init__(self):
        super().__init__()
        folder, name = os.path.split(os.environ["TOKEN_FILE"])
        with open(os.path.join(folder, name)) as stream:
            self.token = stream.read()
        self.good = os.path.join(folder, "good")

    def slow(self):
        if os.path.exists(self.good):
            with open(self.good) as stream:
                if stream.read() != self.token:
                    raise InvalidCredentials("Token:" + self.token)
        time.sleep(0.3)
        return {"pid": os.getpid()}


def token_bearer():
    """Another factory."""
    return TokenBearer()


token_bearer.types = Types  # type: ignore[attr-defined]
