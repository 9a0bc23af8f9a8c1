"""What batching costs who comes alone: one client before an api that batches, and before the same without."""
import batching
from kit import peers, results, rounds

TITLE = "Batching, one client"
PAIRS = 8  # for each round that is asked for


def measure(model, options, measured):
    """Processes alike differ by 4%, for as long as they live, by where their memory lies: so each pair is a new one."""
    for turn in range(PAIRS * options.rounds if options.rounds > 1 else 1):
        with peers.all_ended() as started:
            pair = [batching.soma(model), batching.soma_alone(model)]
            measured.servers = [app.server for app in pair]
            for app in pair:
                started.append(app.server)
                app.start()
                app.closed(1, options.seconds)
            for app in (pair if turn % 2 else pair[::-1]):
                batching.note(measured, model.name, 1, app.server, lambda: app.closed(1, 2 * options.seconds))


def run(options):
    measured = rounds.Rounds([], options.rounds, options.seconds)
    models = batching.models()
    for model in models:
        measure(model, options, measured)
    rounds.progress("")
    return {"cells": measured.record(), "busy": measured.busy_record(), "models": [model.name for model in models]}


def render(told):
    cells, rows = results.Cells(told["cells"]), []
    for name in told["models"]:
        with_it, without = (cells.median(server, name, 1, "p50_us") for server in ("Soma", batching.ONE_BY_ONE))
        rows.append([name, f"{with_it / 1000:.3f}", f"{without / 1000:.3f}", f"{cells.ratio('Soma', batching.ONE_BY_ONE, name, 1, 'p50_us') - 1:+.1%}"])
    pairs = PAIRS * told["rounds"]
    return [f"p50 of one client in milliseconds, over {pairs} pairs of an api that batches (up to 5 ms for others) and one that does not, each pair of processes "
            "that were started for it, since such that are alike differ by 4%; the last column is the median of the pairs' ratios.", "",
            *results.table(["", "batching", "not", ""], rows)]
