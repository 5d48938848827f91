"""Every SQL statement of transport: `zones` (set-up), `flows` (readings, windows, occupancy), `warnings`."""
