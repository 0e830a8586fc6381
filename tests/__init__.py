"""Tests. Those that need a real Apache Kafka ask for it by a fixture (see conftest.py)."""
