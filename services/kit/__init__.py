"""The frame of a service: what every service of the suite stands on, and which knows no domain."""
