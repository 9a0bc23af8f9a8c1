"""FastAPI with one thread that predicts; one who has gone by his turn is not computed for."""
import asyncio
from concurrent.futures import ThreadPoolExecutor

import work
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
slot = ThreadPoolExecutor(1)


class Input(BaseModel):
    x: int


@app.post("/")
async def predict(payload: Input):
    return {"y": await asyncio.get_running_loop().run_in_executor(slot, work.compute, payload.x)}
