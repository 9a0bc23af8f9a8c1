"""What the end-to-end tests share: a daemon, its clients, its replicas.

SOMA_BIN        the program to test (build/soma)
SOMA_TEST_SLOW  factor for every timeout: 5 or so under sanitizers
SOMA_SOAK       set: the long runs are allowed, too
"""
