"""The replica of a Python predictor: <python> worker_main.py, started by soma.

The extension _worker beside this file holds the sockets; this file loads the
user's class and lends its threads. Nothing of Soma is installed: the modules
beside this file are in the package `_soma`, and this folder is not on sys.path.
The syntax is old on purpose: an interpreter that is too old must get as far as
saying so.
"""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def give_up(message, remedy):
    """Says FAILED without the extension."""
    import json
    import socket
    import struct

    sys.stderr.write("soma: %s; remedy: %s\n" % (message, remedy))
    sys.stderr.flush()
    text = json.dumps({"code": "internal", "message": message, "traceback": "", "remedy": remedy})
    channel = socket.fromfd(int(os.environ["SOMA_CONTROL_FD"]), socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        channel.recv(1 << 18)  # CONFIG: what is left unread resets the channel, and our words are lost
    except OSError:
        pass
    channel.send(struct.pack("=BBHI", 34, 1, 0, 0) + text.encode("utf-8"))
    os._exit(1)


def check_build():
    """A Python without a GIL wants a build of its own: it would take the one
    for all others, and crash."""
    if "t" not in getattr(sys, "abiflags", ""):
        return
    from importlib.machinery import EXTENSION_SUFFIXES

    name = "_worker" + EXTENSION_SUFFIXES[0]
    if not os.path.exists(os.path.join(HERE, name)):
        give_up("%s is a free-threaded Python %s, and this Soma was built without %s" % (sys.executable, sys.version.split()[0], name), "build Soma where this Python is (scripts/python-t), or choose one with a GIL with the key python")


def import_package():
    """Makes this folder the package `_soma` and takes it off sys.path."""
    import types

    sys.path[:] = [p for p in sys.path if os.path.abspath(p or ".") != HERE]
    package = types.ModuleType("_soma")
    package.__path__ = [HERE]
    sys.modules["_soma"] = package
    check_build()
    try:
        from _soma import _worker
    except ImportError as error:
        give_up("%s (Python %s) cannot load Soma's extension: %s" % (sys.executable, sys.version.split()[0], error), "choose an ordinary CPython 3.8 or newer with the key python")
    return _worker


def fail(worker, why):
    """Says FAILED, leaves the traceback in the log, and ends the process."""
    import json

    sys.stderr.write(why.for_log())
    sys.stderr.flush()
    worker.failed(json.dumps(why.as_dict()).encode("utf-8"))
    worker.end_lines()
    os._exit(1)


def serve(worker, threads, pools):
    """Lends the main thread, and `threads` - 1 more, until the process has drained."""
    def run_slot(index):
        if pools and index:
            pools.in_thread()
        worker.run_slot(index)

    if threads > 1:
        import threading

        for index in range(1, threads):
            threading.Thread(target=run_slot, args=(index,), name="soma-slot-%d" % index, daemon=True).start()
    while True:
        try:
            return worker.run_slot(0)
        except (SystemExit, KeyboardInterrupt) as error:
            from _soma import answers

            answers.end_process(error, "a signal handler")
        except BaseException:  # of a signal handler: what Python would print
            import traceback

            traceback.print_exc()


def leave(worker):
    """Ends the drained process without waiting for threads of the user's."""
    import atexit

    # The extension ends the process if these take too long.
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass
    worker.end_lines()
    worker.bye()
    os._exit(0)


def main():
    if sys.version_info < (3, 8):
        give_up("%s is Python %s" % (sys.executable, sys.version.split()[0]), "choose CPython 3.8 or newer with the key python")
    worker = import_package()
    config = worker.start()

    import faulthandler
    import json
    import signal

    from _soma import output

    faulthandler.enable()  # a crash in C code leaves the Python stack in the log
    output.install(worker)

    from _soma import answers, failure, loader, params, streams, tasks, zygote

    def hand_over(predictor):
        worker.prepare(
            predictor.methods,
            predictor.pre_predict,
            predictor.post_predict,
            predictor.summary,
            params.query_params,
            params.headers,
            params.form,
            answers.of_response,
            streams.AsyncChunks,
            streams.RELEASE,
            streams.go_on,
            answers.of_stream_exception,
            answers.of_exception,
            answers.of_late_exception,
            tasks.is_async,
            tasks.begin,
        )

    loading = loader.Loading(config, worker.loading, hand_over)
    pools = None
    try:
        if config.get("zygote"):
            config, pools = zygote.wait(worker, config, loading)
            loading.settings = config
        signal.set_wakeup_fd(worker.wakeup_fd(), warn_on_full_buffer=False)
        answers.expose_tracebacks = config.get("expose_tracebacks", False)
        loading.start()
        if loading.imported:
            worker.facts(json.dumps({"imports": loading.imported}))
    except failure.Failure as why:
        fail(worker, why)
    serve(worker, config.get("threads", 1), pools)
    leave(worker)


if __name__ == "__main__":
    main()
