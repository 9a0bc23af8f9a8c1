"""Tells what kind of file a text is. Knows nothing of Soma: `uvicorn app:app` runs it anywhere."""
import json

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from magika import Magika
from pydantic import BaseModel

app = FastAPI(title="File types")
magika = Magika()


class Text(BaseModel):
    text: str


class Texts(BaseModel):
    texts: list[str]


def classify(text):
    result = magika.identify_bytes(text.encode())
    return {"label": result.output.label, "score": round(result.score, 3)}


@app.get("/health")
def health():
    return {"ok": True}


@app.post("/predict")
def predict(body: Text):
    return classify(body.text)


@app.post("/stream")
def stream(body: Texts):
    """One line of JSON a text, each sent as soon as it is known."""
    lines = (json.dumps(classify(text)) + "\n" for text in body.texts)
    return StreamingResponse(lines, media_type="application/x-ndjson")
