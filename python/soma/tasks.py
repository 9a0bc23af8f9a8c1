"""The asyncio loop of a process, for what is `async def`: one, in a thread of its own.

asyncio is imported where it is needed: few projects do.
"""
import functools
import inspect
import threading

from _soma import _worker, output

_starting = threading.Lock()
_loop = None


def _new_loop():
    import asyncio

    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _run(loop):
    import asyncio

    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    except (SystemExit, KeyboardInterrupt) as error:  # asyncio lets these through
        from _soma import answers

        answers.end_process(error, "an async method")


def start():
    """The loop runs from now on."""
    global _loop
    with _starting:
        if _loop is not None:
            return
        _loop = _new_loop()
        _loop.add_reader(_worker.task_fd(), _worker.task_take_all)
        threading.Thread(target=_run, args=(_loop,), name="soma-loop", daemon=True).start()


def makes_coroutine(function):
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))


def is_async(function):
    """Whether calling it makes a coroutine, for which the loop runs from now on."""
    found = makes_coroutine(function)
    if found:
        start()
    return found


def begin(coroutine, handle, request_id):
    """The task of a coroutine, in the loop's thread. What it prints has the request's mark."""
    import asyncio

    before = output.request_id.set(request_id)
    try:
        task = asyncio.ensure_future(coroutine, loop=_loop)
    finally:
        output.request_id.reset(before)
    task.add_done_callback(functools.partial(_worker.task_done, handle))
    return task


def run(coroutine, to_the_end=True):
    """What a coroutine returns, for the request that this thread handles: the thread waits."""
    start()
    return _worker.task_await(coroutine, to_the_end)
