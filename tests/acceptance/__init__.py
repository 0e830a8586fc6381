"""The main job on a real Kafka, compared with a batch fold of the input topic."""
