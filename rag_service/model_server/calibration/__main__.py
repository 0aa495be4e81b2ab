"""`python -m rag_service.model_server.calibration`: what the simulator's figures are worth."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from rag_service.model_server import presets
from rag_service.model_server.calibration import curve, plots, published
from rag_service.model_server.calibration.live.options import Options, add_flags, writable_file


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Exit codes: 0 it holds, 1 it does not, 2 a wrong command line, 4 no server to measure."""
    parser = argparse.ArgumentParser(
        prog="python -m rag_service.model_server.calibration", description="Compare simulated with measured."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    command = commands.add_parser(
        "curve", help="the H100 presets beside the published curves, in virtual time"
    )
    command.add_argument("--plot", type=writable_file, metavar="FILE.svg", help="draw them, too")
    command.set_defaults(run=_curve)
    command = commands.add_parser(
        "fit", help="find the H100 presets' cost from the published curves (a minute)"
    )
    command.set_defaults(run=_fit)
    command = commands.add_parser(
        "live",
        help="measure a live server and fit a preset (minutes)",
        prog="ragquake calibrate",
        usage="ragquake calibrate --against URL [flags]; ragquake calibrate --help lists them",
    )
    add_flags(command)
    command.set_defaults(run=_live)
    options = parser.parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    return run(options)


def _curve(options: argparse.Namespace) -> int:
    compared = tuple(curve.compare(one, presets.load(one.preset)) for one in published.CURVES)
    print(curve.table(compared))
    if options.plot:
        options.plot.write_text(plots.of_curves(compared), encoding="utf-8")
    missed = [one.curve.preset for one in compared if not one.holds]
    limits = (
        f"{curve.ALLOWED_ERROR_RATIO:.0%} of the line and {curve.ALLOWED_AT_RATE_RATIO:.0%} of the same rate"
    )
    if missed:
        print(f"not within {limits}, or with another jump: {', '.join(missed)}")
        return 1
    print(f"every time per output token is within {limits}; every first token jumps where it was measured to")
    return 0


def _fit(_: argparse.Namespace) -> int:
    from rag_service.model_server.calibration import fit  # scipy takes its time, and `curve` does without

    curves = [(one, presets.load(one.preset)) for one in published.CURVES]
    found = fit.fit(curves[0][1].cost, fit.PUBLISHED_NAMES, lambda cost: fit.missed_by(curves, cost))
    for name in fit.PUBLISHED_NAMES:
        print(f"{name} = {getattr(found.cost, name):.3g}")
    print(f"root mean square of what it misses: {found.error_ratio:.1%}")
    return 0


def _live(options: argparse.Namespace) -> int:
    from rag_service.model_server.calibration.live import command  # for scipy's sake, too

    return command.run(Options.of(options))


if __name__ == "__main__":
    raise SystemExit(main())
