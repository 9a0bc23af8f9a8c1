"""FastAPI as a good engineer would: what has come while the GPU computed is the next batch; one thread that predicts."""
import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import waits
from encoder import MAX_BATCH, MAX_WAIT_S, Encoder
from fastapi import BackgroundTasks, FastAPI
from pydantic import BaseModel


class Input(BaseModel):
    ids: list[int]


class Batcher:
    def __init__(self):
        self.encoder, self.waiting, self.slot = Encoder(), asyncio.Queue(), ThreadPoolExecutor(1)

    async def row_of(self, ids):
        answer = asyncio.get_running_loop().create_future()
        self.waiting.put_nowait((ids, answer))
        return await answer

    async def gather(self):
        """One at least; as many as there are, and as come in a while."""
        loop = asyncio.get_running_loop()
        batch = [await self.waiting.get()]
        until = loop.time() + MAX_WAIT_S
        while len(batch) < MAX_BATCH:
            if not self.waiting.empty():
                batch.append(self.waiting.get_nowait())
                continue
            try:
                batch.append(await asyncio.wait_for(self.waiting.get(), until - loop.time()))
            except asyncio.TimeoutError:
                break
        return batch

    def compute(self, batch):
        return self.encoder.run([self.encoder.row(ids) for ids, _ in batch])

    async def run(self):
        while True:
            batch = await self.gather()
            rows = await asyncio.get_running_loop().run_in_executor(self.slot, self.compute, batch)
            for (_, answer), row in zip(batch, rows):
                if not answer.done():
                    answer.set_result(row)


@asynccontextmanager
async def lifespan(app):
    app.state.batcher = Batcher()
    app.state.running = asyncio.create_task(app.state.batcher.run())
    yield
    app.state.running.cancel()


app = FastAPI(lifespan=lifespan)


@app.post("/plain")
async def plain(payload: Input):
    return {"row": await app.state.batcher.row_of(payload.ids)}


@app.post("/hooks")
async def hooks(payload: Input, tasks: BackgroundTasks):
    await asyncio.sleep(waits.PRE_S)
    row = await app.state.batcher.row_of(payload.ids)
    tasks.add_task(asyncio.sleep, waits.POST_S)
    return {"row": row}
