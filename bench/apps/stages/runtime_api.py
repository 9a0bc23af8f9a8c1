"""AWS's own client for Python functions, `awslambdaric`, behind a small server of the Runtime API that it asks.

runtime_api.py PORT: invocations come by POST on PORT, wait in a queue, and go to the one instance, one at a time, as
Lambda's contract with a function says.
"""
import asyncio
import itertools
import os
import sys


async def read_message(reader):
    """(first line, body); None at the end of the stream."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return head.split(b"\r\n", 1)[0].decode(), await reader.readexactly(length)


def answer(writer, status, body, headers=""):
    writer.write(f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body)


class RuntimeApi:
    def __init__(self):
        self.queue, self.waiting, self.ids = asyncio.Queue(), {}, itertools.count(1)

    async def on_runtime(self, reader, writer):
        try:
            while True:
                line, body = await read_message(reader)
                path = line.split()[1]
                if path.endswith("/invocation/next"):
                    id, event, future = await self.queue.get()
                    self.waiting[id] = future
                    answer(writer, "200 OK", event, f"Lambda-Runtime-Aws-Request-Id: {id}\r\nLambda-Runtime-Deadline-Ms: 4102444800000\r\n"
                           "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:eu-west-1:000000000000:function:bench\r\n")
                else:
                    id, what = path.split("/")[-2:]
                    self.waiting.pop(id).set_result((what == "response", body))
                    answer(writer, "202 Accepted", b'{"status":"OK"}')
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def on_client(self, reader, writer):
        try:
            while True:
                _, body = await read_message(reader)
                future = asyncio.get_running_loop().create_future()
                await self.queue.put((str(next(self.ids)), body, future))
                right, result = await future
                answer(writer, "200 OK" if right else "500 Internal Server Error", result)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def main(port):
    api = RuntimeApi()
    runtime = await asyncio.start_server(api.on_runtime, "127.0.0.1", 0)
    front = await asyncio.start_server(api.on_client, "127.0.0.1", port)
    address = "127.0.0.1:%d" % runtime.sockets[0].getsockname()[1]
    instance = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "awslambdaric", "handler.handler",
        env={**os.environ, "AWS_LAMBDA_RUNTIME_API": address, "AWS_LAMBDA_FUNCTION_NAME": "bench",
             "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "3008", "AWS_REGION": "eu-west-1"})
    async with front:
        await instance.wait()


asyncio.run(main(int(sys.argv[1])))
