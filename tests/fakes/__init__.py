"""Kafka's clients over one in-memory broker of lists, and a clock that a test moves.

What the contract suite shows of the real clients, these do too; where they do not, it says so. Everything happens in
the caller's thread: rebalances and the answers to commits come inside `poll`, deliveries inside `poll` and `flush`.
"""
