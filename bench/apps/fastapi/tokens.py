import asyncio
import time

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, StreamingResponse

app = FastAPI()
PAUSE_S = 0.1


async def tokens():
    number, due = 0, time.monotonic()
    while True:
        yield b"data: %016x %08x a token of text\n\n" % (time.monotonic_ns(), number)
        number += 1
        due += PAUSE_S
        await asyncio.sleep(due - time.monotonic())


@app.get("/tokens")
async def stream():
    return StreamingResponse(tokens(), media_type="text/event-stream")


@app.post("/tokens", response_class=PlainTextResponse)
async def ok():
    return "ok"
