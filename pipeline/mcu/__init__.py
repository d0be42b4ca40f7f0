"""The device: boards, the arena that TFLite Micro needs, and the memory budget."""

COLUMNS = 80  # of a terminal, for what is printed
