"""Lambda's way: one function does all of it, one request at a time."""
import work


def handler(event, context):
    work.wait_before()
    y = work.compute(event["x"])
    work.wait_after()
    return {"y": y}
