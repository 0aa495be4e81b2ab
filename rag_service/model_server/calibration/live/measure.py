"""A level asked of a live server: each caller sends its next request when its answer is there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from rag_service.model_server.calibration.live import prompts
from rag_service.model_server.calibration.live.answers import Answer
from rag_service.model_server.calibration.live.errors import CalibrationError
from rag_service.model_server.calibration.live.figures import Figures, Sample, figures
from rag_service.model_server.calibration.live.load import Level
from rag_service.model_server.calibration.live.server import Server

#: Told how many answers of a level are there.
OnAnswer = Callable[[Level, int], None]


@dataclass(frozen=True, slots=True)
class Measured:
    """A level and what came of it: a sample for each request, in the order in which they were sent."""

    level: Level
    samples: tuple[Sample, ...]

    @property
    def counted(self) -> tuple[Sample, ...]:
        return self.samples[self.level.counted]

    @property
    def figures(self) -> Figures:
        return figures(self.counted)


async def measure(server: Server, level: Level, seed: int, on_answer: OnAnswer) -> Measured:
    """Raises CalibrationError at the first request that fails: with it, the load was not what was said."""
    random = Random(f"prompts {seed} {level.concurrency}")
    texts = [
        prompts.text(random.getrandbits(30), server.tokens.words(ask.prompt_tokens), random)
        for ask in level.asks
    ]
    answers: list[Answer | None] = [None] * len(texts)
    coming = iter(range(len(texts)))

    async def call() -> None:
        for index in coming:
            try:
                answers[index] = await server.ask(texts[index], level.asks[index].output_tokens)
            except CalibrationError as error:
                raise CalibrationError(
                    f"request {index + 1} of {len(texts)} at {level.concurrency} at a time failed: {error}"
                ) from error
            on_answer(level, len(answers) - answers.count(None))

    try:
        async with asyncio.TaskGroup() as callers:
            for _ in range(level.concurrency):
                callers.create_task(call())
    except* CalibrationError as failed:
        raise failed.exceptions[0] from None
    return Measured(
        level,
        tuple(
            Sample(answer.prompt_tokens, answer.output_tokens, answer.first_token_s, answer.token_s)
            for answer in answers
            if answer is not None
        ),
    )
