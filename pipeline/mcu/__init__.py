"""The device: boards, the arena that TFLite Micro needs, and the memory budget."""
