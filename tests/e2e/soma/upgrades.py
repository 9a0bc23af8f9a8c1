"""What tests of `soma upgrade` share: programs that are no good, and who is there."""

import os
import threading

from . import procs, projects
from .daemon import BIN
from .waiting import seconds, wait_for


def upgrade(daemon, *args, check=0):
    """Returns what the command said; the daemon is another one behind it."""
    old = daemon.daemon_pid
    said = daemon.cli("upgrade", *args, check=check)
    assert daemon.daemon_pid != old
    wait_for("it is ready", daemon.admin.is_ready)
    return said


def daemons(daemon):
    """Pids of all that the keeper has, those that have yielded among them."""
    mark = f"--data {daemon.data} "
    return [p for p in procs.children(daemon.keeper_pid) if mark in procs.command_line(p)]


def ask(daemon, path, **kwargs):
    """In a thread; .answer is what came, or the error."""
    def run():
        try:
            thread.answer = daemon.admin.http.request(
                kwargs.pop("method", "GET"), daemon.url + path, timeout=seconds(60), **kwargs)
        except Exception as e:  # pylint: disable=broad-except
            thread.answer = e
    thread = threading.Thread(target=run)
    thread.answer = None
    thread.start()
    return thread


def text_of(thread):
    thread.join(seconds(60))
    assert not isinstance(thread.answer, (Exception, type(None))), thread.answer
    assert thread.answer.status_code == 200, thread.answer.text
    return thread.answer


def script(path, text, mode=0o755):
    path.write_text(text)
    path.chmod(mode)
    return path


# Takes part up to a point, and then does what is filled in. One that is started to serve is the real one.
PEER = f"""#!{projects.PYTHON}
import os, socket, struct, sys, time
if "--check" in sys.argv:
    print("soma-daemon 9.9")
    sys.exit()
if "--take-over" not in sys.argv:
    os.execv("{BIN}", sys.argv)
keeper = socket.socket(fileno=3)
ready = lambda: keeper.send(struct.pack("=HHiQ", 9, 0, 0, 0))
%s
os.kill(os.getpid(), 9)
"""


def peer(path, behind):
    return script(path, PEER % behind)


def there(daemon):
    """Whether somebody serves."""
    try:
        return os.path.exists(f"/proc/{daemon.daemon_pid}") and daemon.admin.is_ready()
    except OSError:
        return False
