"""What runs without anybody: deployments and their flows, Prefect's server, a local service, upkeep, watch, alerts."""
