"""Seconds that a request waits for a database before it is predicted, and for a log after."""
PRE_S, POST_S = 0.020, 0.050
