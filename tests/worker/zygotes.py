"""A zygote by itself: the daemon's side of its channel, and the keeper's of the replicas that it makes."""
import ctypes
import json
import os
import socket
import threading
import time

from harness import CONFIG, FAILED, HEAD, READY, Worker

FORK, FORKED, UNSAFE = 5, 41, 42
PR_SET_CHILD_SUBREAPER = 36


def be_the_keeper():
    """What a zygote forks twice is this process's child."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Child:
    """A forked replica, as subprocess.Popen would show it."""

    def __init__(self, pid):
        self.pid, self.code = pid, None

    def poll(self, flags=os.WNOHANG):
        if self.code is None:
            pid, status = os.waitpid(self.pid, flags)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code

    def wait(self, timeout=None):
        end = time.monotonic() + (timeout or 3600)
        while self.poll() is None:
            assert time.monotonic() < end, "process %d has not ended" % self.pid
            time.sleep(0.002)
        return self.code

    def kill(self):
        os.kill(self.pid, 9)


class Forked(Worker):
    """A replica that a zygote makes; what it says and is asked is as of any other."""

    def __init__(self, zygote, number, mark="", **config):
        self.zygote, self.dir, self.project = zygote, zygote.dir, zygote.project
        self.settings = {**zygote.settings, "replica": "test-1-%d" % number, **config}
        del self.settings["zygote"]
        self.frames = []
        self.socket = os.path.join(self.dir.name, "s%d" % number)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.socket)
        self.listener.listen(512)
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.send(CONFIG, payload=json.dumps(self.settings).encode())
        out, pipe = os.pipe()
        socket.send_fds(zygote.control, [HEAD.pack(FORK, 1, 0, number) + mark.encode()], [self.listener.fileno(), theirs.fileno(), pipe])
        os.close(pipe)
        theirs.close()
        self.log_bytes, self.log_size = bytearray(), 0
        self.reader = threading.Thread(target=self._read_log, args=(out,), daemon=True)
        self.reader.start()
        kind, arg, text = zygote.expect(FORKED)
        assert arg == number
        self.process = Child(json.loads(text)["pid"])

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.reader.join(5)
        self.control.close()
        self.listener.close()


class Zygote(Worker):
    """A worker that is told to stop behind a step of its loading."""

    def __init__(self, files, level="init", **more):
        be_the_keeper()
        self.made = []
        super().__init__(files, zygote=level, listens=False, **more)

    def fork(self, **config):
        self.made.append(Forked(self, len(self.made) + 1, **config))
        return self.made[-1]

    def replica(self, **config):
        return self.fork(**config).ready()

    def level(self):
        return json.loads(self.expect(READY)[2])["level"]

    def unsafe(self):
        """Why it does not fork where it was to."""
        frame = self.receive()
        while frame[0] not in (READY, FAILED, UNSAFE):
            frame = self.receive()
        assert frame[0] == UNSAFE, frame
        assert self.process.wait(10) == 0
        return json.loads(frame[2])["why"]

    def close(self):
        for replica in self.made:
            replica.close()
        super().close()
