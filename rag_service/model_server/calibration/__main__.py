"""`python -m rag_service.model_server.calibration`: what the simulator's figures are worth."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from rag_service.model_server import presets
from rag_service.model_server.calibration import curve, published


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Exit codes: 0 it holds, 1 it does not, 2 the command line is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m rag_service.model_server.calibration", description="Compare simulated with measured."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    command = commands.add_parser(
        "curve", help="the H100 presets beside the published curves, in virtual time"
    )
    command.set_defaults(run=_curve)
    command = commands.add_parser(
        "fit", help="find the H100 presets' cost from the published curves (a minute)"
    )
    command.set_defaults(run=_fit)
    run: Callable[[], int] = parser.parse_args(arguments).run
    return run()


def _curve() -> int:
    compared = tuple(curve.compare(one, presets.load(one.preset)) for one in published.CURVES)
    print(curve.table(compared))
    missed = [one.curve.preset for one in compared if not one.holds]
    limits = (
        f"{curve.ALLOWED_ERROR_RATIO:.0%} of the line and {curve.ALLOWED_AT_RATE_RATIO:.0%} of the same rate"
    )
    if missed:
        print(f"not within {limits}, or with another jump: {', '.join(missed)}")
        return 1
    print(f"every time per output token is within {limits}; every first token jumps where it was measured to")
    return 0


def _fit() -> int:
    from rag_service.model_server.calibration import fit  # scipy takes its time, and `curve` does without

    curves = [(one, presets.load(one.preset)) for one in published.CURVES]
    found = fit.fit(curves[0][1].cost, fit.PUBLISHED_NAMES, lambda cost: fit.missed_by(curves, cost))
    for name in fit.PUBLISHED_NAMES:
        print(f"{name} = {getattr(found.cost, name):.3g}")
    print(f"root mean square of what it misses: {found.error_ratio:.1%}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
