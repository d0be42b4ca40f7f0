"""What is measured of the data, and what is expected of it."""
