"""The two stages as folds over values: no Kafka, no clock, no log."""
