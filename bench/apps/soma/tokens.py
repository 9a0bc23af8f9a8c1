import time

import soma

PAUSE_S = 0.1


class Handler:
    def handle_get(self):
        return soma.Response(self.tokens(), media_type="text/event-stream")

    def handle_post(self):
        return "ok"

    def tokens(self):
        yield soma.release_slot()  # what makes the pauses is no inference
        number, due = 0, time.monotonic()
        while True:
            yield b"data: %016x %08x a token of text\n\n" % (time.monotonic_ns(), number)
            number += 1
            due += PAUSE_S
            time.sleep(max(0, due - time.monotonic()))
