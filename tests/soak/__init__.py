"""Members under steady traffic for a long time: what they hold must stay flat (`make soak`)."""
