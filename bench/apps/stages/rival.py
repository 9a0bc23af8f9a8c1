"""FastAPI as a good engineer would: waits beside, one thread that predicts, a background task after."""
import work
from fastapi import BackgroundTasks, FastAPI
from pydantic import BaseModel

app = FastAPI()


class Input(BaseModel):
    x: int


@app.post("/async")
async def predict_async(payload: Input, tasks: BackgroundTasks):
    await work.await_before()
    y = await work.await_slot(payload.x)
    tasks.add_task(work.await_after)
    return {"y": y}


@app.post("/def")
def predict_def(payload: Input, tasks: BackgroundTasks):
    work.wait_before()
    y = work.take_slot(payload.x)
    tasks.add_task(work.wait_after)
    return {"y": y}
