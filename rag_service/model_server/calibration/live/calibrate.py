"""The whole of it: measure the levels, fit a cost, simulate the same load, compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace

from rag_service.model_server.calibration.live import fitting
from rag_service.model_server.calibration.live.comparison import Comparison, Levels, compare
from rag_service.model_server.calibration.live.errors import CalibrationError
from rag_service.model_server.calibration.live.load import Ask, levels, warm_up
from rag_service.model_server.calibration.live.measure import Measured, measure
from rag_service.model_server.calibration.live.options import MAX_NUM_BATCHED_TOKENS, MAX_NUM_SEQS, Options
from rag_service.model_server.calibration.live.process import simulator
from rag_service.model_server.calibration.live.progress import Progress
from rag_service.model_server.calibration.live.server import Described, Server
from rag_service.model_server.calibration.live.simulate import simulated
from rag_service.model_server.cost import Cost
from rag_service.model_server.presets import Preset
from rag_service.model_server.scheduler import Limits

#: What is assumed where the server does not say it: more than any load here needs.
MAX_MODEL_LEN = 8192
BLOCK_TOKENS = 16
KV_TOKENS = 1_048_576

_DIGITS = 4
#: Others than the fit's, so that it is not judged by the draws that it was made with.
_SEEDS = range(100, 105)


@dataclass(frozen=True, slots=True)
class Found:
    """What came of it."""

    seed: int
    described: Described
    preset: Preset
    measured: tuple[Measured, ...]
    comparison: Comparison


async def calibrate(options: Options, seed: int, clock: Callable[[], float], progress: Progress) -> Found:
    """Measure, fit, simulate, compare. Raises CalibrationError."""
    async with Server(options.against, clock) as server:
        described = await server.describe(options.model)
        longest = options.prompt_tokens.high + options.max_tokens.high
        if described.max_model_len is not None and longest > described.max_model_len:
            raise CalibrationError(
                f"prompts of {options.prompt_tokens} and answers of {options.max_tokens} tokens do not fit "
                f"the {described.max_model_len} tokens that {described.model} takes; give smaller "
                f"--prompt-tokens or --max-tokens"
            )
        await server.probe(seed)
        progress.say(f"{options.against} serves {described.model} (version {described.version or 'unknown'})")
        if not server.lengths_are_forced:
            progress.say("it takes no ignore_eos and min_tokens: answers end where the model ends them")
        wanted = levels(
            options.concurrency, options.prompt_tokens, options.max_tokens, options.requests, seed
        )
        progress.say("warming up")
        await measure(server, warm_up(wanted[-1]), -1 - seed, lambda *_: None)  # prompts of its own
        measured = [await measure(server, level, seed, progress.answers) for level in wanted]
    _require_tokens(measured)
    progress.say("fitting (about a minute)")
    start = Preset(
        name=options.out.stem if options.out is not None else "fitted",
        title=f"{described.model} as it was measured",
        source="measured",
        cost=fitting.first_guess(measured),
        limits=limits(described, options, measured),
    )
    preset, _ = fitting.fitted(start, measured)
    preset = replace(preset, cost=_rounded(preset.cost))
    served: list[Measured | None] = [None] * len(measured)
    if options.verify:
        progress.say("the same load on the simulator as a process")
        served = [*await verified(preset, measured, seed, clock, progress)]
    found = [
        Levels(
            one.level.concurrency,
            one.figures,
            simulated(preset, one, _SEEDS),
            process.figures if process is not None else None,
        )
        for one, process in zip(measured, served, strict=True)
    ]
    return Found(seed, described, preset, tuple(measured), compare(found))


async def verified(
    preset: Preset, measured: Sequence[Measured], seed: int, clock: Callable[[], float], progress: Progress
) -> list[Measured]:
    """The lengths that were measured, asked of the simulator as a process by the same client."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(simulator(preset))
        server = await stack.enter_async_context(Server(url, clock))
        await server.describe(None)
        await server.probe(seed)
        found = []
        for one in measured:
            asks = tuple(Ask(sample.prompt_tokens, sample.output_tokens) for sample in one.samples)
            found.append(await measure(server, replace(one.level, asks=asks), seed, progress.answers))
        return found


def limits(described: Described, options: Options, measured: Sequence[Measured]) -> Limits:
    """As the command line says, else the server, else vLLM's defaults. Raises CalibrationError."""
    block_tokens = described.block_tokens or BLOCK_TOKENS
    places = options.max_num_seqs or MAX_NUM_SEQS
    try:
        return Limits(
            max_num_seqs=places,
            max_num_batched_tokens=options.max_num_batched_tokens or max(MAX_NUM_BATCHED_TOKENS, places),
            max_model_len=described.max_model_len or max(MAX_MODEL_LEN, _longest(measured)),
            kv_blocks=options.kv_blocks or described.kv_blocks or KV_TOKENS // block_tokens,
            block_tokens=block_tokens,
        )
    except ValueError as error:
        raise CalibrationError(f"such a server cannot be simulated: {error}") from None


def _require_tokens(measured: Sequence[Measured]) -> None:
    for one in measured:
        if any(sample.output_tokens < 2 or sample.token_s <= 0.0 for sample in one.counted):
            raise CalibrationError(
                f"at {one.level.concurrency} at a time, some answers have a single token or came in one "
                f"piece: there is no time per token; ask for longer ones with --max-tokens"
            )


def _longest(measured: Sequence[Measured]) -> int:
    return max(sample.prompt_tokens + sample.output_tokens for one in measured for sample in one.samples)


def _rounded(cost: Cost) -> Cost:
    """To the digits that mean something, so that what is compared is what is written."""
    return Cost(**{name: float(f"{value:.{_DIGITS}g}") for name, value in asdict(cost).items()})
