"""One cycle from its inputs to its readers, as Prefect flows and tasks that can be killed and run again."""
