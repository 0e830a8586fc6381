"""What the runtime relies on of Kafka's clients: the same tests on the fakes and on a real Kafka."""
