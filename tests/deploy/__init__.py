"""What `deploy/` says: rules, a dashboard, manifests and a runbook that agree with the code and with each other."""
