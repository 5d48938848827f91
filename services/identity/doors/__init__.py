"""Doors by what they are about; `app` mounts them."""
