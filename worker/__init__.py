"""A Kafka consumer-group service: session-keyed actions in, one context record per user out."""
