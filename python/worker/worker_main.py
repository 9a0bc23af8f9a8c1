"""The replica process of a Python predictor: loads the user's class, then serves it.

Started by Soma by path, in the user's own interpreter. Everything on the way of
a request is in the C extension beside this file; here is what happens once.
"""
import importlib.util
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def load_by_path(name, path):
    """A module under a name of its own, so that it hides none of the user's."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def main():
    # Python put our own directory first; the user's modules must not find ours.
    if sys.path and os.path.abspath(sys.path[0]) == HERE:
        del sys.path[0]
    native = load_by_path("_worker", os.path.join(HERE, "_worker.abi3.so"))
    config = json.loads(native.start())
    for var in ("SOMA_LISTEN_FD", "SOMA_CONTROL_FD"):
        os.environ.pop(var, None)
    output = load_by_path("_soma_output", os.path.join(HERE, "worker_output.py"))
    output.install(native.current_id)
    loading = load_by_path("_soma_load", os.path.join(HERE, "worker_load.py"))
    calls = load_by_path("_soma_calls", os.path.join(HERE, "worker_calls.py"))
    calls.expose_tracebacks = bool(config.get("expose_tracebacks"))
    native.configure(
        int(config.get("threads") or 1),
        int(config.get("predict_timeout_ms") or 0),
        int(config.get("max_body") or 0),
    )
    try:
        predictor = loading.load(config, native.loading)
    except loading.LoadError as error:
        sys.stdout.flush()
        if error.traceback:
            sys.stderr.write(error.traceback)
        sys.stderr.write("%s\n" % error.message)
        sys.stderr.flush()
        native.failed(json.dumps(error.as_dict()))
        os._exit(1)
    hooks = loading.hooks_of(predictor)
    hooks.update(
        make_query=calls.make_query,
        make_headers=calls.make_headers,
        parse_form=calls.parse_form,
        describe_error=calls.describe_error,
        unpack_response=calls.unpack_response,
    )
    native.ready(hooks, "{}")
    serve(native, int(config.get("threads") or 1))
    end(native)


def serve(native, threads):
    """Runs the slots until the process is told to stop."""
    if threads == 1:
        native.run_slot(0)
        return
    import threading

    others = [
        threading.Thread(target=native.run_slot, args=(i,), name="slot-%d" % i, daemon=True)
        for i in range(1, threads)
    ]
    for thread in others:
        thread.start()
    native.run_slot(0)
    for thread in others:
        thread.join()


def end(native):
    """The user's atexit handlers get a while; threads of theirs do not hold us."""
    import atexit
    import threading

    runner = threading.Thread(target=atexit._run_exitfuncs, daemon=True)
    runner.start()
    runner.join(5)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass
    native.bye()
    os._exit(0)


if __name__ == "__main__":
    main()
