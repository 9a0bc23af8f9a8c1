"""Clients that ask again when they are answered, and what a replica learns from them."""
import json
import threading

from harness import BATCHING, QUERY, READY


def closed_loop(replica, clients, rounds, ask):
    """Sizes of the batches that answers came in. ask(pair, connection) gives its answer's, and whether that is right."""
    sizes, bad = [], []

    def client(number):
        c = replica.connect()
        for i in range(rounds):
            size, right = ask([number, i], c)
            sizes.append(size)
            if not right:
                bad.append([number, i])
        c.close()

    threads = [threading.Thread(target=client, args=(n,)) for n in range(clients)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert bad == [] and len(sizes) == clients * rounds
    return sizes


def last_told(replica):
    """What the last BATCHING says."""
    replica.send(QUERY)
    replica.expect(READY)
    return json.loads(replica.expect(BATCHING)[2])
