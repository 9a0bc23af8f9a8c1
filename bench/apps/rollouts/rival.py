"""The same under FastAPI."""
import asyncio

import work
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

app, version = FastAPI(), work.version()


async def stream(n):
    for i in range(n):
        yield f"{version} {i}\n"
        await asyncio.sleep(work.CHUNK_S)


@app.post("/")
async def predict(request: Request):
    payload = await request.json()
    if "stream" in payload:
        return StreamingResponse(stream(payload["stream"]), media_type="text/plain")
    return work.answer(payload["x"], version)
