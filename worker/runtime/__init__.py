"""The Kafka shell: one poll loop, tasks with a life cycle, restore and checkpoint."""
