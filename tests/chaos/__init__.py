"""The main job while members, connections and brokers fail, and what must hold afterwards (`make chaos`)."""
