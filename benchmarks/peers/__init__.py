"""The same job on other engines, each a command `PEER BOOTSTRAP INPUT OUTPUT GROUP` that works until SIGTERM."""
