"""The pages: operator, kiosk, events, health, metrics. They read the log and move nothing; see README.md."""
