"""A zygote's side of Python: whether a fork is safe now, and what a forked replica must mend.

A zygote is this worker, stopped behind one of the steps of loading (loader.py): `worker`, `imports` or `init`. The extension
forks it (zygote.c).
"""
import gc
import json
import os
import stat
import sys
import time

from _soma import pools

AFTER = {"worker": "after the start of the interpreter", "imports": "after the imports", "init": "after __init__"}
# Devices that have no state of an opener's.
PLAIN_DEVICES = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}
GPU_DEVICES = ("/dev/nvidia", "/dev/dri/", "/dev/kfd")
ENDING_S = 0.5  # for threads and children that are about to end


# --- whether it is safe -------------------------------------------------------


def _python_threads():
    threading = sys.modules.get("threading")
    return threading.enumerate() if threading else []


def _end_helpers():
    """Threads that only look after others, and are made anew when these come: tqdm's, which redraws progress bars that hang."""
    for thread in _python_threads():
        if type(thread).__module__ == "tqdm._monitor":
            thread.exit()
            thread.tqdm_cls.monitor = None


def _threads():
    own = os.getpid()
    for thread in os.listdir("/proc/self/task"):
        if int(thread) == own:
            continue
        try:
            with open("/proc/self/task/%s/comm" % thread) as f:
                name = f.read().strip()
        except OSError:  # it has ended meanwhile
            continue
        names = [t.name for t in _python_threads() if t.native_id == int(thread)]
        return "a thread runs (%s)" % (names or [name])[0]
    return None


def _children():
    try:
        with open("/proc/self/task/%d/children" % os.getpid()) as f:
            child = f.read().split()
    except OSError:  # a kernel that does not tell
        return None
    return "a child process runs (pid %s)" % child[0] if child else None


def _mapped():
    """(device, inode) of the files that are mapped, and the mapped names that a GPU's context shows."""
    files, gpu = set(), None
    with open("/proc/self/maps") as f:
        for line in f:
            parts = line.split(None, 5)
            if len(parts) < 6:
                continue
            files.add((parts[3], int(parts[4])))
            name = parts[5].strip()
            if name.startswith(GPU_DEVICES) or os.path.basename(name).startswith("libcuda.so"):
                gpu = name
    return files, gpu


def _open_file(fd, name, files):
    """What is unsafe about a descriptor, or None."""
    status = os.fstat(fd)
    mode = status.st_mode
    if name.startswith(GPU_DEVICES):
        return "a GPU is in use (%s)" % name
    if stat.S_ISSOCK(mode):
        return "a socket is open (descriptor %d)" % fd
    if stat.S_ISFIFO(mode):
        return "a pipe is open (descriptor %d)" % fd
    if stat.S_ISCHR(mode):
        return None if name in PLAIN_DEVICES else "the device %s is open" % name
    if not stat.S_ISREG(mode):
        return None if stat.S_ISDIR(mode) else "%s is open (descriptor %d)" % (name, fd)
    # All processes would read and write at one position: not where it is mapped, or each write goes to the end.
    with open("/proc/self/fdinfo/%d" % fd) as f:
        flags = int(f.read().split("flags:")[1].split()[0], 8)
    device = "%02x:%02x" % (os.major(status.st_dev), os.minor(status.st_dev))
    if flags & os.O_APPEND or (device, status.st_ino) in files:
        return None
    return "the file %s is open" % name


def _descriptors(own):
    files, gpu = _mapped()
    if gpu:
        return "a GPU's library or device is loaded (%s)" % gpu
    for entry in os.listdir("/proc/self/fd"):
        fd = int(entry)
        try:
            name = os.readlink("/proc/self/fd/%d" % fd)
            why = None if fd in own else _open_file(fd, name, files)
        except OSError:  # the one that lists them
            continue
        if why:
            return why
    return None


def unsafe(control):
    """Why a fork now would not give what this process is, in words; None: it would."""
    _end_helpers()
    until = time.monotonic() + ENDING_S
    while True:
        why = _threads() or _children()
        if not why:
            return _descriptors({0, 1, 2, control})
        if time.monotonic() > until:
            return why
        time.sleep(0.005)


# --- being one ----------------------------------------------------------------


def _reseed():
    """What draws numbers draws others in each replica. Python's own `random` has seen to itself."""
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    if "torch" in sys.modules:
        sys.modules["torch"].default_generator.seed()


def wait(worker, config, loading):
    """Loads up to the level that CONFIG says and waits. Returns in each replica: its own CONFIG, and the pools."""
    level, control = config["zygote"], int(os.environ["SOMA_CONTROL_FD"])
    held = pools.Held()
    loading.to(level)
    if level == "imports":
        loading.import_ahead(config.get("imports") or ())
    gc.collect()  # pools of threads end with their owner
    why = unsafe(control)
    if why:
        worker.unsafe(json.dumps({"level": level, "why": "%s %s" % (AFTER[level], why)}).encode("utf-8"))
        worker.end_lines()
        os._exit(0)
    held.find()
    # Else the first collection in each replica would write to, and so copy, all objects there are.
    gc.collect()
    gc.freeze()
    worker.end_lines()
    worker.zygote(json.dumps({"level": level}).encode("utf-8"))
    config = worker.start()
    loading.known = loading.next_word()
    held.release()
    _reseed()
    return config, held
