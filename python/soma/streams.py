"""Streams: async generators as iterators, and the threads of released ones.

The extension asks for chunks with next() and passes them on (stream.c).
"""
import _thread
import functools

from _soma import _worker, tasks


class _Release:
    def __repr__(self):
        return "soma.release_slot()"


# Yielded, it gives the slot up.
RELEASE = _Release()

_END = object()


async def _step(source):
    try:
        return await source.__anext__()
    except StopAsyncIteration:
        return _END


async def _close(source):
    close = getattr(source, "aclose", None)
    if close is not None:
        await close()


class AsyncChunks:
    """An async iterator as an iterator, each step of which runs on the asyncio loop while the thread that asks waits.

    When the client goes, the step is cancelled and the iteration is over.
    """

    def __init__(self, source):
        self._source = source
        self._is_over = False

    def __iter__(self):
        return self

    def __next__(self):
        if self._is_over:
            raise StopIteration
        try:
            chunk = tasks.run(_step(self._source), to_the_end=False)
        except BaseException as error:
            if type(error).__name__ != "CancelledError" or not _worker.cancelled():
                raise
            chunk = _END
        if chunk is _END:
            raise StopIteration
        return chunk

    def close(self):
        if self._is_over:
            return
        self._is_over = True
        tasks.run(_close(self._source))


async def asgi_messages(response):
    """What an ASGI response sends, as it sends it: (status, headers), then the pieces of its body."""
    import asyncio

    sent = asyncio.Queue(1)

    async def receive():
        await asyncio.Event().wait()  # the client never says anything more

    async def send(message):
        await sent.put(message)

    async def call():
        scope = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "method": "POST", "path": "/", "raw_path": b"/", "query_string": b"", "headers": [], "extensions": {}}
        try:
            await response(scope, receive, send)
        finally:
            await sent.put(None)

    task = asyncio.ensure_future(call())
    try:
        while True:
            message = await sent.get()
            if message is None:
                await task  # raises what it raised
                return
            if message["type"] == "http.response.start":
                yield message["status"], list(message.get("headers", ()))
            elif message["type"] == "http.response.body" and message.get("body"):
                yield bytes(message["body"])
    finally:
        if not task.done():
            task.cancel()


# Gives a released stream, the one item of a tuple, a thread of its own. Without a line of Python: a
# signal handler that raises in it would leave the stream to two threads.
go_on = functools.partial(_thread.start_new_thread, _worker.go_on)
